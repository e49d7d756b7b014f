/** Documents one after the other, with the end of text before the first and after each. */
export interface TokenStream {
  /** Tokens. */
  readonly length: number
  readonly documents: number
  /** Fills `into` with the tokens from `offset` on; all of them must exist. */
  read(offset: number, into: Int32Array): void
}
