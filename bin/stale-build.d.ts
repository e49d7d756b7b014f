export interface StalePart {
  readonly name: string
  /** Path, from the root of the package, of a source that is newer than the part. */
  readonly source: string
}
export function stalePartsOf(root: string): StalePart[]
export function staleText(part: StalePart): string
