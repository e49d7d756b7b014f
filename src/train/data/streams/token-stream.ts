/** Concatenated documents, with an end-of-text token before the first and after each. */
export interface TokenStream {
  /** Number of tokens. */
  readonly length: number
  readonly documents: number
  /** Fills `into` with the tokens from `offset` on; all must exist. */
  read(offset: number, into: Int32Array): void
}
