/**
 * The format of a record of routes: which experts a router chose for every token of a text.
 *
 * Think of a folder with a table and its description. `routes.json` describes model, text and routers. The table,
 * `routes.jsonl` or `routes.parquet`, has a row for each token and each router, so that a database or a notebook groups
 * rows by layer without taking nested lists apart. The rows of a token are adjacent, in the order of the routers. A
 * Parquet file stores a repeated value once, so the repeated columns of a token cost little.
 *
 * docs/routes.md describes the files for their readers.
 */
import { z } from 'zod'
import { capacityRules } from '../../core/model/routing/contract.ts'
import { rowFile } from './files.ts'

/** Version of the format. It increases when a field is renamed, removed or changes its meaning; fields may be added. */
export const FORMAT = 1

const count = z.int().nonnegative()

const router = z.looseObject({
  /** Index of the transformer layer, from 0, and the module with experts: `ffn`, or a projection of attention. */
  layer: count,
  module: z.string(),
  /** Number of experts over all prototypes; those of a prototype are adjacent. */
  experts: z.int().positive(),
  prototypes: z.int().positive(),
  /** Number of choices of a token over all prototypes; null if experts choose tokens, so that the number varies. */
  choices: z.int().positive().nullable(),
  /** Number of choices that an expert takes from a group of tokens; null if nothing can be dropped. */
  capacity: z.int().positive().nullable(),
})

const document = z.looseObject({
  /** Index of the document in the whole text, from 0. */
  document: count,
  name: z.string(),
  /** Kind of the text: the folder or the file of records that it is from. */
  domain: z.string(),
  /** Number of recorded tokens. */
  tokens: count,
})

const model = z.looseObject({
  /** Directory of the run, or folder of the files of another library, as it was given. */
  directory: z.string(),
  /** Number of steps that it was trained; 0 for a model of another library. */
  step: count,
  /** Format of its weights, and the engine that computed the routes. */
  weights: z.string(),
  engine: z.looseObject({ provider: z.string(), math: z.string(), threads: count }),
  /** Settings of the model, as in `model` of a configuration. */
  config: z.looseObject({}),
})

export const headerSchema = z.looseObject({
  kind: z.literal('routes'),
  format: z.literal(FORMAT),
  /** Program that wrote the record. */
  program: z.string(),
  model,
  tokenizer: z.looseObject({ vocabulary: count, sha256: z.string() }),
  text: z.looseObject({
    source: z.string(),
    /** Hash of text, split and tokenizer. */
    hash: z.string(),
    /** Number of documents and of tokens of the whole text. */
    documents: count,
    tokens: count,
  }),
  /** Capacity rule under which the routes were computed. */
  capacity: z.enum(capacityRules),
  /** Mean cross-entropy of the token after each recorded token, nats. */
  loss: z.number().nullable(),
  /** The model whose recorded experts the routers of the model had to choose; absent if they chose themselves. */
  replayed: model.optional(),
  /** The file of a server's answers whose experts the routers had to choose; absent if they chose themselves. */
  imported: z.string().optional(),
  routers: z.array(router).min(1),
  /** Number of recorded tokens; the table has a row for each of them and each router. */
  tokens: count,
  file: z.enum([rowFile('jsonl'), rowFile('parquet')]),
  /** The documents with recorded tokens, by index. */
  documents: z.array(document),
})

export type RoutesHeader = z.output<typeof headerSchema>
export type RecordedRouter = RoutesHeader['routers'][number]
export type RecordedDocument = RoutesHeader['documents'][number]

/** The decision of a router for a token. */
export interface Route {
  /** The chosen experts, 0 to experts − 1; the choices of a prototype are adjacent, the best first. */
  readonly experts: readonly number[]
  /** Factor of the output of each chosen expert. */
  readonly gates: readonly number[]
  /** Entropy of the router's distribution, nats, mean over prototypes; null for a router without weights. */
  readonly entropy: number | null
  /** The chosen experts that refused the token because they were full. */
  readonly dropped: readonly number[]
}

/** A token with the decisions of all routers, in the order of the header. */
export interface RoutedToken {
  readonly document: number
  /** Position in the document, from 0; the last token of a document is the end of text. */
  readonly position: number
  readonly token: number
  /** The token in readable form. */
  readonly text: string
  readonly routes: readonly Route[]
}

/** A row of the table. */
export interface RouteRow extends Omit<RoutedToken, 'routes'>, Route {
  readonly layer: number
  readonly module: string
}
