/** Messages emitted while a training, an evaluation or a generation is prepared and runs. */
export type RunMessage =
  | { readonly kind: 'prepare'; readonly message: string }
  /** A deviation from the request, such as another precision, or how to read the numbers. */
  | { readonly kind: 'notice'; readonly message: string }
  | { readonly kind: 'warning'; readonly message: string }

export type OnMessage = (message: RunMessage) => void
