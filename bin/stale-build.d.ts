export interface StalePart {
  readonly name: string
  /** Path from the root. */
  readonly source: string
}
export function stalePartsOf(root: string): StalePart[]
export function staleText(part: StalePart): string
