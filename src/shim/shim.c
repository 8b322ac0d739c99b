// SPDX-License-Identifier: GPL-2.0
#include "shim.h"

unsigned int homa_shim_skb_headlen(const struct sk_buff *skb)
{
	return skb_headlen(skb);
}
