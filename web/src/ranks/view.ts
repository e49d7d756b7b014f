/** The view of the ranks page, in the address. */
import { inAddress, number, oneOf, optional } from '../view-state.ts'

const spans = ['mean', 'step'] as const
/** Whether times are means over the last steps, or those of one step. */
export const span = inAddress('span', oneOf(spans), 'mean')
/** The last step shown; null: always the newest. */
export const lastStep = inAddress('until', optional(number), null)

/** Steps of a mean; a warning of a slow rank is over as many. */
export const MEAN_STEPS = 20
