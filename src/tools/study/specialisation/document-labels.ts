/**
 * Labels of documents in which experts may specialise: the period of the year, and the party.
 *
 * Years are grouped into periods. A year with a single document would only be another name for that document:
 * information about the year would be information about the document, and shuffling labels would change
 * nothing.
 */
import type { Metadata } from '../../../train/data/sources/piece.ts'

/** Labels of documents: `of` has for each document an index into `names`, or −1 for a document without a label. */
export interface DocumentLabels {
  readonly names: readonly string[]
  readonly of: Int32Array
}

type Document = { readonly metadata?: Metadata }

/** Round widths of a period, in years. */
const widths = [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000]
const USUAL_PERIODS = 10

/**
 * Groups years into about ten spans of equal width that start at multiples of the width: `1775–1799`. Spans
 * without a document are omitted.
 */
export function periodsOf(documents: readonly Document[]): DocumentLabels {
  const years = documents.map(({ metadata }) => yearOf(metadata?.year))
  const known = years.filter((year) => year !== undefined)
  const first = known.reduce((a, b) => Math.min(a, b), Infinity)
  const last = known.reduce((a, b) => Math.max(a, b), -Infinity)
  const spans = (width: number) => Math.floor(last / width) - Math.floor(first / width) + 1
  const distance = (width: number) => Math.abs(Math.log(spans(width) / USUAL_PERIODS))
  const width = widths.reduce((best, width) => (distance(width) < distance(best) ? width : best), 1)
  const nameOf = (span: number) => (width === 1 ? `${span}` : `${span * width}–${(span + 1) * width - 1}`)
  const spanOf = years.map((year) => (year === undefined ? undefined : Math.floor(year / width)))
  const present = [...new Set(spanOf)].filter((span) => span !== undefined).sort((a, b) => a - b)
  return {
    names: present.map(nameOf),
    of: Int32Array.from(spanOf, (span) => (span === undefined ? -1 : present.indexOf(span))),
  }
}

function yearOf(value: Metadata[string] | undefined): number | undefined {
  const year = typeof value === 'string' && /^-?\d+$/.test(value.trim()) ? Number(value) : value
  return typeof year === 'number' && Number.isInteger(year) ? year : undefined
}

/** A party with less than this share of all documents (or with one document) cannot be distinguished from its speakers. */
const FEW_SHARE = 0.02

/** Parties sorted by their number of documents, most first; those with few documents become `other`, at the end. */
export function partiesOf(documents: readonly Document[]): DocumentLabels {
  const parties = documents.map(({ metadata }) => {
    const party = metadata?.party
    return typeof party === 'string' && party.trim() !== '' ? party.trim() : undefined
  })
  const counts = new Map<string, number>()
  for (const party of parties) if (party !== undefined) counts.set(party, (counts.get(party) ?? 0) + 1)
  const minDocuments = Math.max(2, FEW_SHARE * documents.length)
  const byCount = [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
  const names = byCount.filter(([name, count]) => count >= minDocuments && name !== other).map(([name]) => name)
  const withOther = names.length < counts.size ? [...names, other] : names
  return {
    names: withOther,
    of: Int32Array.from(parties, (party) => {
      if (party === undefined) return -1
      const index = names.indexOf(party)
      return index < 0 ? names.length : index
    }),
  }
}

const other = 'other'
