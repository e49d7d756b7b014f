/** Schemas of the requests' fields. */
import { z } from 'zod'
import { parseInput } from '../../../core/config/problems.ts'
import { xAxes } from '../api.ts'

const index = z.int().min(0)
const run = z.string()

export const requestSchemas = {
  series: z.strictObject({
    /** Ids of runs, joined by commas. */
    runs: z.string(),
    metric: z.string(),
    x: z.enum(xAxes).default('step'),
    smoothing: z.number().min(0).lt(1).default(0),
    points: z.int().min(10).max(10_000).default(800),
    from: z.number().optional(),
    to: z.number().optional(),
  }),
  run: z.strictObject({ run }),
  loads: z.strictObject({ run, from: index.default(0), to: index.optional() }),
  router: z.strictObject({ run, router: index }),
  ranks: z.strictObject({ run, span: z.int().min(1).max(1000).default(20), step: z.number().optional() }),
  trace: z
    .strictObject({ run, text: z.string().optional(), document: index.optional() })
    .refine(({ text, document }) => (text === undefined) !== (document === undefined), {
      path: ['text'],
      message: 'expected either a text or the number of a document',
    })
    .refine(({ text }) => text === undefined || text.trim() !== '', { path: ['text'], message: 'expected some text' }),
  topTokens: z.strictObject({ run, router: index, expert: index }),
}

const NUMBER = /^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/i

/** Fields that stay text even if they look like numbers. */
const TEXT_FIELDS: ReadonlySet<string> = new Set(['run', 'runs', 'metric'])

/**
 * Parses the query of an address. An empty field counts as absent.
 * @throws UsageError naming field and value
 */
export function parseQuery<Schema extends z.ZodType>(
  schema: Schema,
  query: Readonly<Record<string, string>>,
): z.output<Schema> {
  const fields = Object.entries(query)
    .filter(([name, value]) => value !== '' && name !== 'token')
    .map(([name, value]) => [name, !TEXT_FIELDS.has(name) && NUMBER.test(value) ? Number(value) : value])
  return parseInput(schema, Object.fromEntries(fields), 'request')
}
