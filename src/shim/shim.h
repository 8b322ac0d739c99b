/* SPDX-License-Identifier: GPL-2.0 */
#ifndef HOMA_SHIM_H
#define HOMA_SHIM_H

#include <linux/skbuff.h>

unsigned int homa_shim_skb_headlen(const struct sk_buff *skb);

#endif
