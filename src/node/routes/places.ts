/** Finds the document of a position of a text, and counts the recorded tokens of each document. */
import type { Dataset } from '../../train/data/dataset.ts'
import { domainPath, domainsOf } from '../../train/data/domains.ts'
import type { RecordedDocument } from './format.ts'

/** A place in a text: a document, and a position in this document. */
export interface Place {
  readonly document: number
  readonly position: number
}

export class PlacesInDocuments {
  private readonly names: readonly string[]
  /** Position in the stream of the first token of each document, and of the end of the last one. */
  private readonly starts: readonly number[]
  private readonly counts: Int32Array
  /** The document that was found last: positions mostly come in order. */
  private last = 0

  private constructor(names: readonly string[], starts: readonly number[]) {
    this.names = names
    this.starts = starts
    this.counts = new Int32Array(names.length)
  }

  static async of({ heldOutDocuments }: Pick<Dataset, 'heldOutDocuments'>): Promise<PlacesInDocuments> {
    const names: string[] = []
    const starts: number[] = []
    let end = 0
    for await (const { name, start, length } of heldOutDocuments()) {
      names.push(name)
      starts.push(start)
      end = start + length
    }
    return new PlacesInDocuments(names, [...starts, end])
  }

  /** The place of a token; null if it belongs to no document. */
  at(position: number): Place | null {
    const { starts, counts } = this
    const isIn = (document: number) =>
      position >= (starts[document] as number) && position < (starts[document + 1] as number)
    if (counts.length === 0 || position < (starts[0] as number) || position >= (starts.at(-1) as number)) return null
    if (!isIn(this.last)) this.last = this.search(position)
    return { document: this.last, position: position - (starts[this.last] as number) }
  }

  /** Counts a token at a place. */
  count({ document }: Place): void {
    this.counts[document] = (this.counts[document] as number) + 1
  }

  /** The documents with counted tokens. */
  recorded(): RecordedDocument[] {
    const paths = this.names.map(domainPath)
    const domains = domainsOf(new Set(paths))
    return this.names.flatMap((name, document) => {
      const tokens = this.counts[document] as number
      return tokens > 0 ? [{ document, name, domain: domains.get(paths[document] as string) as string, tokens }] : []
    })
  }

  /** The last document that starts at `position` or before. */
  private search(position: number): number {
    let [low, high] = [0, this.counts.length]
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if ((this.starts[middle] as number) <= position) low = middle
      else high = middle
    }
    return low
  }
}
