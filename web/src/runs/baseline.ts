/** The arm that curves are compared with, by the id of one of its runs; empty for no comparison. */
import { inAddress, text } from '../view-state.ts'

export const baseline = inAddress('baseline', text, '', true)
