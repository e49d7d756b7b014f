/**
 * Groups of held-out documents, so that a record of losses by document stays small however many documents there are.
 *
 * A text of few documents has a group for each. Otherwise the documents of each domain are dealt to its groups in an
 * order that looks random, like cards: neighbours in the source are often alike, and a group must be a sample of its
 * whole domain. No group mixes domains. Groups and domains are a function of the text alone, so all runs on it have the
 * same groups.
 */
import type { Dataset } from './dataset.ts'
import { domainPath, domainsOf, OTHER } from './domains.ts'
import { permute } from './random.ts'

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
  const domains = largest(domainsIn(paths, [...starts, end]))
  shareGroups(domains, starts.length)
  const groupOf = new Int32Array(starts.length)
  let first = 0
  for (const [i, { documents, groups }] of domains.entries()) {
    for (const [place, document] of documents.entries())
      groupOf[document] = first + (permute(place, documents.length, i) % groups)
    first += groups
  }
  return {
    documents: starts.length,
    groups: first,
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

/** @param ends The start of each document, and the end of the last. */
function domainsIn(paths: readonly string[], ends: readonly number[]): Domain[] {
  const names = domainsOf(new Set(paths))
  const domains = new Map<string, Domain>()
  for (const [document, path] of paths.entries()) {
    const name = names.get(path) as string
    const domain = domains.get(name) ?? { name, documents: [], tokens: 0, groups: 0 }
    domain.documents.push(document)
    domain.tokens += (ends[document + 1] as number) - (ends[document] as number)
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
function shareGroups(domains: readonly Domain[], documents: number): void {
  for (const domain of domains)
    domain.groups = documents <= MAX_GROUPS ? domain.documents.length : Math.min(2, domain.documents.length)
  let left = Math.min(MAX_GROUPS, documents) - domains.reduce((sum, { groups }) => sum + groups, 0)
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
