/**
 * law.json: a law with the study that it comes from. The study of a map writes it, `choir worth` and `bench/studies/map.ts`
 * read it.
 */
import { z } from 'zod'
import { parseJson } from '../../core/text/json.ts'
import type { Law } from './law.ts'

const number = z.number()
const positive = z.number().positive()
const range = z.tuple([positive, positive])
const formSchema = z.object({
  gamma: z.boolean(),
  zeta: z.boolean(),
  transform: z.enum(['none', 'start', 'both', 'gain', 'limited']),
})
const coefficientsSchema = z.object({
  a: positive,
  alpha: number,
  delta: number,
  gamma: number,
  b: positive,
  beta: number,
  omega: number,
  zeta: number,
  c: number,
  start: positive,
  max: positive.nullable(),
  kappa: number,
  nu: number,
  onset: positive,
  share: positive.nullable(),
})

const FORMAT = 4

const lawFileSchema = z.object({
  format: z.literal(FORMAT),
  /** Name of the study. */
  study: z.string(),
  /** Number of runs that the law was fitted to, and the program that trained them. */
  runs: z.int().positive(),
  program: z.string(),
  /** Version of the numerics: see `src/tools/study/grid/numerics.ts`. */
  numerics: z.int(),
  /** Hash of the text and its tokens. */
  corpus: z.string(),
  /** Sources of the text. */
  source: z.array(z.string()),
  vocabulary: positive,
  /** Settings that all runs have in common, by path. Settings of experts are common to the runs with experts. */
  recipe: z.record(z.string(), z.unknown()),
  form: formSchema,
  coefficients: coefficientsSchema,
  withoutSeed: z.array(coefficientsSchema).min(2),
  residuals: z.object({
    pair: number,
    leftOutArm: number,
    leftOutSize: number,
    misfit: number,
    folds: z.int(),
    beyondSizes: z.tuple([number, number]),
    beyondTokens: z.tuple([number, number]),
  }),
  sizes: z
    .array(z.object({ active: positive, tokens: range, lengths: z.int().positive(), seeds: z.int().positive() }))
    .min(1),
  experts: z.array(z.int().positive()).min(1),
  compared: z.array(z.object({ form: formSchema, coefficients: z.int(), error: number })),
})

export type LawFile = Law & Readonly<Omit<z.output<typeof lawFileSchema>, keyof Law>>

export const lawText = (law: Omit<LawFile, 'format'>): string =>
  `${JSON.stringify({ format: FORMAT, ...law }, null, 2)}\n`

/** @throws SyntaxError whose message is a clause about the file: "it is not a law of this version: …" */
export function parseLaw(text: string): LawFile {
  const parsed = lawFileSchema.safeParse(parseJson(text))
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new SyntaxError(`it is not a law of this version: ${issue?.path.join('.') || 'the file'}: ${issue?.message}`)
}
