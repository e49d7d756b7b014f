/** Messages of a training, an evaluation or a generation while it is prepared and runs. */
export type RunMessage =
  | { readonly kind: 'prepare'; readonly message: string }
  /** What differs from what was asked, such as the precision, or what the numbers mean. */
  | { readonly kind: 'notice'; readonly message: string }
  | { readonly kind: 'warning'; readonly message: string }

export type OnMessage = (message: RunMessage) => void
