/** What of a section's verdicts is read first: the answer and the next few; the figures show the others too. */

const SHOWN = 6

/** The verdicts to show, and those to fold away. Two more than fit are no reason to fold. */
export function foldedVerdicts(verdicts: readonly string[]): [first: readonly string[], rest: readonly string[]] {
  return verdicts.length > SHOWN + 2 ? [verdicts.slice(0, SHOWN), verdicts.slice(SHOWN)] : [verdicts, []]
}
