/** The messages between a reader of Parquet files and its thread. */
export interface Column {
  readonly path: string
  /** Name of the file in messages. */
  readonly name: string
  /** Name of the column; `a.b` is the field `b` of the struct column `a`. */
  readonly column: string
}

/** The answer to any message: the values of the next rows, null after the last row; or why they cannot be read. */
export type Answer =
  | { readonly kind: 'values'; readonly values: readonly (string | null)[] | null }
  /** @property columns Columns of the file, if the requested column is not one of them; null otherwise. */
  | { readonly kind: 'column'; readonly message: string; readonly columns: string | null }
  /** @property message The reason; null if the contents contradict each other. */
  | { readonly kind: 'damaged'; readonly message: string | null }
