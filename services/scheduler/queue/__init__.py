"""Who runs next, where and when: pure functions of what waits, what runs and what is free.

One pass goes: `quota` says who may start at all, `order` puts the others in a row with the `share`
of each project, `backfill` finds room without delaying what was promised, `preemption` asks low
priority to make room, `forecast` tells the rest when their turn is likely to come. `schedule`
does all of it.
"""
