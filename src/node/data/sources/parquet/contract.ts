/** Between a reader of Parquet files and its thread. */
export interface Column {
  readonly path: string
  /** Of the file, in messages. */
  readonly name: string
  /** `a.b` is a field of a struct column. */
  readonly column: string
}

/** To any message: values of the next rows, null after the last; or why they cannot be had. */
export type Answer =
  | { readonly kind: 'values'; readonly values: readonly (string | null)[] | null }
  /** @property columns Those of the file, if the column is not one of them. */
  | { readonly kind: 'column'; readonly message: string; readonly columns: string | null }
  /** @property message Null if the contents contradict each other. */
  | { readonly kind: 'damaged'; readonly message: string | null }
