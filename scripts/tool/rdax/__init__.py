# SPDX-License-Identifier: GPL-2.0
"""The program rdax: rdax(8)."""

VERSION = "1.0"
