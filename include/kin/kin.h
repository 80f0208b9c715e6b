// SPDX-License-Identifier: MIT
/*
 * kin/kin.h - all of kin.
 */
#ifndef KIN_KIN_H
#define KIN_KIN_H

#include <kin/base.h>
#include <kin/family.h>
#include <kin/heap.h>
#include <kin/process.h>
#include <kin/selftest.h>

#endif
