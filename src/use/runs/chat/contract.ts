/** The messages between a chat and the thread that renders its template. */

/** A message of a chat. */
export interface ChatMessage {
  /** `system`, `user`, `assistant`, or another role that the chat template of the model knows. */
  readonly role: string
  readonly content: string
}

/** What a thread renders. */
export interface Chat {
  readonly template: string
  readonly messages: readonly ChatMessage[]
  /** Texts of tokens by name, such as `bos_token`. */
  readonly specialTokens: Readonly<Record<string, string>>
  /** Maximum length of the rendered text, in characters. */
  readonly limit: number
}

/** The rendered text, or the reason why there is none. */
export type Rendered = { readonly text: string } | { readonly message: string }
