// SPDX-License-Identifier: MIT
/*
 * budget.h - may this much more memory be committed?
 */
#ifndef KN_SHM_BUDGET_H
#define KN_SHM_BUDGET_H

#include <stdint.h>

/*
 * May the arena's file grow from length to length + more? 0, or -ENOMEM with the figures in words.
 * Asked by whoever grows the file, before every step.
 */
int kn_budget_allows(uint64_t length, uint64_t more);

/* So much was committed: the next question counts it. */
void kn_budget_spent(uint64_t bytes);

/* Forget what was read: the next question looks again. */
void kn_budget_forget(void);

/* RAM and swap of the machine, in bytes; 0 if unknown. */
uint64_t kn_machine_memory(void);

#endif
