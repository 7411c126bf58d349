// SPDX-License-Identifier: GPL-2.0

#include <linux/instruction_pointer.h>
#include <linux/lockdep.h>

#ifdef CONFIG_LOCKDEP
void rust_helper_lockdep_init_map(struct lockdep_map *map, const char *name,
				  struct lock_class_key *key)
{
	lockdep_init_map_wait(map, name, key, 0, LD_WAIT_SLEEP);
}

void rust_helper_might_lock(struct lockdep_map *map)
{
	lock_acquire_exclusive(map, 0, 0, NULL, _RET_IP_);
	lock_release(map, _RET_IP_);
}

void rust_helper_rwsem_acquire(struct lockdep_map *map)
{
	rwsem_acquire(map, 0, 0, _RET_IP_);
}

void rust_helper_rwsem_release(struct lockdep_map *map)
{
	rwsem_release(map, _RET_IP_);
}
#endif
