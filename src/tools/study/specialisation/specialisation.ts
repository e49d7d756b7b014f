/**
 * Expert specialisation of a trained run: which experts compute which years, parties and tokens.
 *
 * Think of a router as labelling each token with the expert that it goes to. How much does this label reveal
 * about the token and its document? Only kept choices count. The whole text is used, because the held-out
 * part has too few documents for years.
 *
 * Information estimated from counts is too large. The part due to chance is measured by shuffling: labels
 * between whole documents (the tokens of a document are alike anyway), and tokens between positions.
 */

import { type Random, randomFor, shuffle } from '../../../core/random.ts'
import { columnSums, entropy, mergeRows, mutualInformation, type Table } from '../../../use/infer/information.ts'
import { typicalTokens } from '../../../use/infer/top-tokens.ts'
import { openRoutingTrace, type RoutingTraceOptions } from '../../../use/runs/routing-trace.ts'
import type { ExpertProfile, Specialisation } from '../contract.ts'
import { type Assignments, collectAssignments, type RouterChoices, tabulate } from './assignments.ts'
import { type DocumentLabels, partiesOf, periodsOf } from './document-labels.ts'

/** Number of tokens that are listed for an expert. */
const LISTED_TOKENS = 12
/** Numbers of shuffles, whose mean is the value by chance. Shuffles of documents only sum rows of a small table. */
const shuffles = { documents: 200, tokens: 5 }

export interface SpecialisationOptions extends RoutingTraceOptions {
  /** The arm that the result is stored under. */
  readonly arm: string
}

/**
 * The specialisation of a run's newest checkpoint.
 * @throws UsageError when there is no run or no checkpoint, or the model is dense
 */
export async function specialisation(directory: string, options: SpecialisationOptions): Promise<Specialisation> {
  const trace = await openRoutingTrace(directory, options)
  try {
    const assignments = await collectAssignments(trace.batches(), trace.tokens)
    const { arm } = options
    const { source, documents, tokenizer, config } = trace
    return specialisationOf(
      assignments,
      { periods: periodsOf(documents), parties: partiesOf(documents) },
      { arm, seed: config.train.seed, source, show: tokenizer.show },
    )
  } finally {
    await trace.close()
  }
}

export interface Labels {
  readonly periods: DocumentLabels
  readonly parties: DocumentLabels
}

export interface About extends Pick<Specialisation, 'arm' | 'seed' | 'source'> {
  /** Text of a token for people to read. */
  readonly show: (token: number) => string
}

/** The specialisation of routers, from their choices. A label with fewer than two values is skipped. */
export function specialisationOf(assignments: Assignments, labels: Labels, about: About): Specialisation {
  const { token_P, document_P, routers } = assignments
  const { arm, seed, source, show } = about
  const documents = document_P.reduce((max, document) => Math.max(max, document), -1) + 1
  const periods = presentLabels(labels.periods, document_P)
  const parties = presentLabels(labels.parties, document_P)
  const byDocument = routers.map((router) => tabulate(router, document_P, documents))
  const { kind_P, tokenOf } = distinctTokens(token_P)
  const byToken = routers.map((router) => tabulate(router, kind_P, tokenOf.length))

  const information: Specialisation['information'][number][] = []
  for (const [of, { names, of: label }] of [
    ['year', periods],
    ['party', parties],
  ] as const) {
    if (names.length < 2) continue
    const measure = (label: Int32Array) => byDocument.map((table) => mergeRows(table, label, names.length))
    const random = randomFor(seed, 'specialisation', of)
    const shuffled = meanOf(shuffles.documents, () =>
      meanInformation(measure(shuffledLabels(label, documents, random))),
    )
    information.push({ of, ...measured(measure(label)), shuffled })
  }
  const random = randomFor(seed, 'specialisation', 'token')
  const exchanged_P = kind_P.slice()
  const shuffled = meanOf(shuffles.tokens, () => {
    shuffle(exchanged_P, random)
    return meanInformation(routers.map((router) => tabulate(router, exchanged_P, tokenOf.length)))
  })
  information.push({ of: 'token', ...measured(byToken), shuffled })

  const occurrences = countsOf(kind_P, tokenOf.length)
  return {
    arm,
    seed,
    source,
    tokens: token_P.length,
    periods: periods.names,
    parties: parties.names,
    information,
    experts: expertProfiles(routers, {
      byToken,
      periods: relativeShares(byDocument, periods, document_P),
      parties: relativeShares(byDocument, parties, document_P),
      describe: (token, count) => ({
        text: show(tokenOf[token] as number),
        count,
        share: count / (occurrences[token] as number),
      }),
    }),
  }
}

const meanInformation = (tables: readonly Table[]): number => mean(tables.map(mutualInformation))

const measured = (tables: readonly Table[]) => ({
  nats: meanInformation(tables),
  entropy: mean(tables.map((table) => entropy(columnSums(table)))),
})

interface Views {
  /** One table per router: kept choices by token, and the relative shares [names, experts] of periods and parties. */
  readonly byToken: readonly Table[]
  readonly periods: readonly Table[]
  readonly parties: readonly Table[]
  readonly describe: (token: number, count: number) => ExpertProfile['tokens'][number]
}

function expertProfiles(routers: readonly RouterChoices[], views: Views): ExpertProfile[] {
  const keptInLayer = new Map<number, number>()
  const kept = views.byToken.map(columnSums)
  for (const [r, { layer }] of routers.entries())
    keptInLayer.set(layer, (keptInLayer.get(layer) ?? 0) + sum(kept[r] as Float64Array))
  return routers.flatMap(({ layer, prototype, experts }, r) => {
    const top = typicalTokens(views.byToken[r] as Table, LISTED_TOKENS)
    return Array.from({ length: experts }, (_, e): ExpertProfile => {
      const inLayer = keptInLayer.get(layer) as number
      return {
        layer,
        expert: prototype * experts + e,
        share: inLayer > 0 ? (kept[r]?.[e] as number) / inLayer : 0,
        tokens: (top[e] ?? []).map(({ token, count }) => views.describe(token, count)),
        periods: column(views.periods[r] as Table, e),
        parties: column(views.parties[r] as Table, e),
      }
    })
  })
}

/**
 * One table per router [names, experts]: the share of a label in the tokens of an expert over its share in the text; 0
 * for a dead expert.
 */
function relativeShares(byDocument: readonly Table[], { names, of }: DocumentLabels, document_P: Int32Array): Table[] {
  const inText = countsOf(
    document_P.map((document) => of[document] as number),
    names.length,
  )
  const total = sum(inText)
  return byDocument.map((table) => {
    const merged = mergeRows(table, of, names.length)
    const ofExpert = columnSums(merged)
    const counts = merged.counts.map((count, i) => {
      const label = Math.floor(i / merged.columns)
      const usual = ((inText[label] as number) / total) * (ofExpert[i % merged.columns] as number)
      return usual > 0 ? count / usual : 0
    })
    return { ...merged, counts }
  })
}

/** Keeps the labels of documents with tokens in the sample, and the names that these documents have. */
function presentLabels({ names, of }: DocumentLabels, document_P: Int32Array): DocumentLabels {
  const seen = new Set(document_P)
  const label = of.map((label, document) => (seen.has(document) ? label : -1))
  const present = names.map((_, i) => i).filter((i) => label.includes(i))
  return { names: present.map((i) => names[i] as string), of: label.map((i) => present.indexOf(i)) }
}

/** Shuffles the labels of labelled documents. */
function shuffledLabels(label: Int32Array, documents: number, random: Random): Int32Array {
  const labelled = Array.from({ length: documents }, (_, d) => d).filter((d) => (label[d] as number) >= 0)
  const values = Int32Array.from(labelled, (d) => label[d] as number)
  shuffle(values, random)
  const shuffled = new Int32Array(documents).fill(-1)
  for (const [i, d] of labelled.entries()) shuffled[d] = values[i] as number
  return shuffled
}

/** Renumbers token ids without gaps, so that tables have no rows for absent tokens. */
function distinctTokens(token_P: Int32Array): { readonly kind_P: Int32Array; readonly tokenOf: readonly number[] } {
  const kindOf = new Map<number, number>()
  const kind_P = token_P.map((token) => {
    const kind = kindOf.get(token) ?? kindOf.size
    kindOf.set(token, kind)
    return kind
  })
  return { kind_P, tokenOf: [...kindOf.keys()] }
}

/** Occurrences of each label; negative labels are omitted. */
function countsOf(label_P: Int32Array, labels: number): Float64Array {
  const counts = new Float64Array(labels)
  for (const label of label_P) if (label >= 0) counts[label] = (counts[label] as number) + 1
  return counts
}

const column = ({ rows, columns, counts }: Table, e: number): number[] =>
  Array.from({ length: rows }, (_, row) => counts[row * columns + e] as number)

const sum = (values: Float64Array): number => values.reduce((total, value) => total + value, 0)

const mean = (values: readonly number[]): number =>
  values.length === 0 ? 0 : values.reduce((total, value) => total + value, 0) / values.length

const meanOf = (times: number, draw: () => number): number => mean(Array.from({ length: times }, draw))
