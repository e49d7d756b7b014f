/** Windows over a sequence of tokens that is longer than the context of a model. */

/** A part of a sequence that one pass reads, and the tokens that it scores. */
export interface ScoringWindow {
  /** Position of the first token that the pass reads. */
  readonly start: number
  /** Number of tokens that the pass reads. */
  readonly length: number
  /** The first token that this window scores, and the token after the last one, as positions in the sequence. */
  readonly from: number
  readonly to: number
}

/**
 * The windows that score the tokens `from` to `length` − 1 of a sequence, each token once.
 *
 * Window w begins at token w · stride and reads at most `sequence` tokens. A token is scored by the first window that
 * reads the token before it. So it is predicted from all tokens before it if they fit into the context, otherwise from
 * `sequence` − `stride` + 1 to `sequence` of them. The windows depend on positions only: a token is predicted from the
 * same tokens wherever the sequence ends, and from wherever its tokens are scored. With a stride of `sequence` they are the
 * windows of an evaluation, which have no common tokens.
 * @param from At least 1: the first token of a sequence has nothing before it.
 * @param stride 1 to `sequence`.
 */
export function scoringWindows(length: number, from: number, sequence: number, stride: number): ScoringWindow[] {
  const windows: ScoringWindow[] = []
  for (let start = 0, scored = 1; scored < length; start += stride) {
    const end = Math.min(start + sequence, length - 1)
    const first = Math.max(scored, from)
    scored = end + 1
    if (first < scored) windows.push({ start, length: end - start, from: first, to: scored })
  }
  return windows
}
