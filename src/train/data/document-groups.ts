/**
 * Groups of held-out documents, so that a record of losses by document stays small however many documents there are.
 *
 * A text of few documents has a group for each. Otherwise the documents of each domain are dealt to its groups in an
 * order that looks random, like cards: neighbours in the source are often alike, and a group must be a sample of its
 * whole domain. No group mixes domains. Groups and domains are a function of the text alone, so all runs on it have the
 * same groups.
 */

import { permute } from '../../core/permutation.ts'
import type { Dataset } from './dataset.ts'
import { domainPath, domainsOf, OTHER } from './domains.ts'

/** Maximum number of groups; a text with at most this many documents has a group for each. */
export const MAX_GROUPS = 64
/** Maximum number of domains that keep their names: the largest ones. All other domains are merged into one. */
export const MAX_DOMAINS = 16

export interface DocumentGroups {
  readonly documents: number
  /** Number of groups. The first groups belong to the first domain, the next ones to the second, and so on. */
  readonly groups: number
  readonly domains: readonly { readonly name: string; readonly groups: number }[]
  /** Writes the group of each position of the stream from `start` on; -1 before the first document and after the last. */
  read(start: number, into: Int32Array): void
}

interface Domain {
  readonly name: string
  /** Indices of documents. */
  readonly documents: number[]
  tokens: number
  groups: number
}

/** Groups the documents of a dataset. */
export async function groupDocuments({ heldOutDocuments }: Pick<Dataset, 'heldOutDocuments'>): Promise<DocumentGroups> {
  const starts: number[] = []
  const paths: string[] = []
  let end = 0
  for await (const { name, start, length } of heldOutDocuments()) {
    starts.push(start)
    paths.push(domainPath(name))
    end = start + length
  }
  const names = domainsOf(new Set(paths))
  const ends = [...starts, end]
  const { groups, domains, groupOf } = dealDocuments(
    paths.map((path, document) => ({
      domain: names.get(path) as string,
      tokens: (ends[document + 1] as number) - (ends[document] as number),
    })),
  )
  return {
    documents: starts.length,
    groups,
    domains: domains.map(({ name, groups }) => ({ name, groups })),
    read(start, into) {
      let document = documentAt(starts, start)
      for (let i = 0; i < into.length; i++) {
        while (document + 1 < starts.length && start + i >= (starts[document + 1] as number)) document++
        into[i] = document < 0 || start + i >= end ? -1 : (groupOf[document] as number)
      }
    },
  }
}

export interface DealtDocuments {
  readonly groups: number
  /** The domains in the order of their groups. */
  readonly domains: readonly { readonly name: string; readonly groups: number; readonly documents: readonly number[] }[]
  /** Group of each document. */
  readonly groupOf: Int32Array
}

/** Deals documents, by the name of their domain and their size, to at most `limit` groups. */
export function dealDocuments(
  documents: readonly { readonly domain: string; readonly tokens: number }[],
  limit = MAX_GROUPS,
): DealtDocuments {
  const domains = largest(domainsIn(documents))
  shareGroups(domains, documents.length, limit)
  const groupOf = new Int32Array(documents.length)
  let first = 0
  for (const [i, domain] of domains.entries()) {
    for (const [place, document] of domain.documents.entries())
      groupOf[document] = first + (permute(place, domain.documents.length, i) % domain.groups)
    first += domain.groups
  }
  return { groups: first, domains, groupOf }
}

function domainsIn(given: readonly { readonly domain: string; readonly tokens: number }[]): Domain[] {
  const domains = new Map<string, Domain>()
  for (const [document, { domain: name, tokens }] of given.entries()) {
    const domain = domains.get(name) ?? { name, documents: [], tokens: 0, groups: 0 }
    domain.documents.push(document)
    domain.tokens += tokens
    domains.set(name, domain)
  }
  return [...domains.values()]
}

/** Returns the domains sorted by name. The smallest ones beyond the limit are merged into one, which comes last. */
function largest(domains: readonly Domain[]): Domain[] {
  const bySize = domains.toSorted((a, b) => b.tokens - a.tokens || (a.name < b.name ? -1 : 1))
  const own = bySize.filter(({ name }) => name !== OTHER).slice(0, MAX_DOMAINS)
  const rest = domains.filter((domain) => !own.includes(domain))
  const other: Domain = {
    name: OTHER,
    documents: rest.flatMap(({ documents }) => documents).sort((a, b) => a - b),
    tokens: rest.reduce((sum, { tokens }) => sum + tokens, 0),
    groups: 0,
  }
  return [...own.sort((a, b) => (a.name < b.name ? -1 : 1)), ...(rest.length > 0 ? [other] : [])]
}

/**
 * Gives each domain groups in proportion to its tokens, but a domain of two documents or more has at least two groups.
 */
function shareGroups(domains: readonly Domain[], documents: number, limit: number): void {
  for (const domain of domains)
    domain.groups = documents <= limit ? domain.documents.length : Math.min(2, domain.documents.length)
  let left = Math.min(limit, documents) - domains.reduce((sum, { groups }) => sum + groups, 0)
  for (; left > 0; left--) {
    const open = domains.filter((domain) => domain.groups < domain.documents.length)
    const [next] = open.toSorted((a, b) => b.tokens / b.groups - a.tokens / a.groups)
    if (next) next.groups++
  }
}

/** Index of the last document that starts at `position` or before; -1 if all documents start later. */
function documentAt(starts: readonly number[], position: number): number {
  let [low, high] = [0, starts.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((starts[middle] as number) <= position) low = middle + 1
    else high = middle
  }
  return low - 1
}
