/** How the steps of an arm are timed: in each turn every timed arm runs once, with these numbers of steps. */
export const TURNS = 5
export const WARM_UP_STEPS = 40
export const TIMED_STEPS = 30
