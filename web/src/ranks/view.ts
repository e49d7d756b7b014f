/** The view of the ranks page, in the address. */
import { inAddress, number, oneOf, optional } from '../view-state.ts'

const spans = ['mean', 'step'] as const
/** Whether times are means over the last steps, or the times of one step. */
export const span = inAddress('span', oneOf(spans), 'mean')
/** The last step shown; null to follow the newest. */
export const lastStep = inAddress('until', optional(number), null)

/** Number of steps of a mean, the same as in a warning about a slow rank. */
export const MEAN_STEPS = 20
