// SPDX-License-Identifier: MIT
/*
 * plant.c - which bug a test planted.
 *
 * A test that cannot fail proves nothing. The kill harness is run once more against a build of the
 * library with bugs in it, one at a time; each must make it fail. In the library proper this file
 * is empty, and KN_PLANT() is the constant 0.
 */
#include <base/attributes.h>

#if defined(KIN_PLANTED_BUGS)
#include <string.h>

const char *kn_planted;

int kn_planted_is(const char *name)
{
    return kn_planted && strcmp(kn_planted, name) == 0;
}
#else
typedef int kn_plant_nothing;
#endif
