/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For bindgen: what the driver's files need, and what this module adds.
 */

#include "../../rust/bindings/bindings_helper.h"

#include "helpers.h"
