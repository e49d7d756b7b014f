/**
 * The dashboard's server as a function from requests to responses (listed in api.ts). It looks up runs by id; nothing
 * in a request becomes a path.
 */
import type { Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { z } from 'zod'
import { parseInput } from '../../../core/config/problems.ts'
import { ProblemError } from '../../http/problem.ts'
import type { Access } from '../../http/serve.ts'
import { type Change, type Collection, type RoutingIndex, type SeriesAnswer, xAxes } from '../api.ts'
import type { WatchedRun } from '../runs/collection.ts'
import type { Tracing } from '../tracing/tracing.ts'
import { Events } from './events.ts'
import { createSite, type Page } from './site.ts'

/** The runs to serve: a WatchedCollection, or a fake in tests. */
export interface Watched {
  describe(): Collection
  run(id: string): WatchedRun | undefined
  onChange(listener: (change: Change) => void): () => void
}

interface AppParts {
  readonly collection: Watched
  readonly tracing: Tracing
  readonly page: Page
  readonly access: Access
}

interface App {
  fetch(request: Request): Response | Promise<Response>
  /** Ends the event streams, which would otherwise stay open. */
  close(): void
}

/** Limit of a request, larger than any text that is traced. */
const MAX_REQUEST_BYTES = 1 << 20
/** Limit of a response of floats. The page requests a range of snapshots at a time. */
const MAX_RESPONSE_BYTES = 1 << 26

export function createApp({ collection, tracing, page, access: rules }: AppParts): App {
  const events = new Events((listener) => collection.onChange(listener))
  const app = createSite(page, rules, (app) => {
    app.use('/api/*', async (c, next) => {
      await next()
      if (!c.res.headers.has('cache-control')) c.res.headers.set('cache-control', 'no-store')
    })
    app.post('/api/*', bodyLimit({ maxSize: MAX_REQUEST_BYTES, onError: tooLarge }))

    app.get('/api/collection', (c) => c.json(collection.describe()))
    app.get('/api/events', (c) => events.answer(c))
    addRunRoutes(app, collection)
    addTracingRoutes(app, collection, tracing)
  })
  return { fetch: (request) => app.fetch(request), close: () => events.close() }
}

const tooLarge = (): never => {
  throw new ProblemError(413, `A request may have at most ${MAX_REQUEST_BYTES} bytes.`)
}

function addRunRoutes(app: Hono, collection: Watched): void {
  app.get('/api/series', (c) => {
    const { runs, metric, from, to, ...query } = parseQuery(requestSchemas.series, c.req.query())
    const range = { ...(from !== undefined && { from }), ...(to !== undefined && { to }) }
    // A run that has disappeared since is treated as one without the metric.
    const series = [...new Set(runs.split(','))]
      .map((id) => collection.run(id)?.series(metric, { ...query, ...range }))
      .filter((each) => each !== undefined)
    return c.json({ metric, x: query.x, series } satisfies SeriesAnswer)
  })
  app.get('/api/routing', (c) => {
    const { run } = parseQuery(requestSchemas.run, c.req.query())
    return c.json(routingOf(runOf(collection, run)))
  })
  app.get('/api/routing/loads', (c) => {
    const { run: id, from, to: requestedTo } = parseQuery(requestSchemas.loads, c.req.query())
    const run = runOf(collection, id)
    const { steps, routers, experts } = routingOf(run)
    if (requestedTo !== undefined && from > requestedTo)
      throw new ProblemError(400, `invalid from and to: ${from} and ${requestedTo} (expected from before to)`)
    // A run that was recreated may have fewer snapshots than the page knew of: the page gets the existing ones.
    const to = Math.min(requestedTo ?? steps.length, steps.length)
    const first = Math.min(from, to)
    refuseLarge('to', to, (to - first) * routers.length * 2 * experts)
    return floats(c, run.loads(first, to))
  })
  app.get('/api/routing/history', (c) => {
    const { run, router } = routerOf(collection, c)
    const { steps, experts } = routingOf(run)
    refuseLarge('router', router, steps.length * 2 * experts)
    return floats(c, run.history(router))
  })
  app.get('/api/routing/summary', (c) => {
    const { run, router } = routerOf(collection, c)
    return c.json(run.routingSummary(router))
  })
  app.get('/api/ranks', (c) => {
    const { run: id, span, step } = parseQuery(requestSchemas.ranks, c.req.query())
    const run = runOf(collection, id)
    const ranks = run.ranks?.(span, step)
    if (!ranks)
      throw new ProblemError(404, `The run ${run.summary().name} has no ranks: it is one of a single process.`)
    return c.json(ranks)
  })
  app.get('/api/failure', async (c) => {
    const run = runOf(collection, parseQuery(requestSchemas.run, c.req.query()).run)
    const record = await run.failureRecord?.()
    if (!record) throw new ProblemError(404, `The run ${run.summary().name} has no record of a failure.`)
    return c.body(new Uint8Array(record), 200, { 'content-type': 'application/json' })
  })
}

function addTracingRoutes(app: Hono, collection: Watched, tracing: Tracing): void {
  app.get('/api/documents', async (c) => {
    const { run } = parseQuery(requestSchemas.run, c.req.query())
    return c.json(await tracing.documents(runOf(collection, run), c.req.raw.signal))
  })
  app.post('/api/trace', async (c) => {
    const { run, text, document } = parseInput(requestSchemas.trace, await jsonOf(c), 'request')
    const what = document === undefined ? { text: text ?? '' } : { document }
    return c.json(await tracing.trace(runOf(collection, run), what, c.req.raw.signal))
  })
  app.post('/api/top-tokens', async (c) => {
    const { run: id, router, expert } = parseInput(requestSchemas.topTokens, await jsonOf(c), 'request')
    const run = runOf(collection, id)
    const { routers } = routingOf(run)
    const experts = routers[router]?.experts
    if (experts === undefined) throw unknownRouter(router, routers.length)
    if (expert >= experts)
      throw new ProblemError(404, `unknown expert: ${expert} (router ${router} has experts 0 to ${experts - 1})`)
    return c.json(await tracing.topTokens(run, { router, expert }, c.req.raw.signal))
  })
}

function runOf(collection: Watched, id: string): WatchedRun {
  const run = collection.run(id)
  if (!run) throw new ProblemError(404, 'There is no such run (any more).')
  return run
}

function routingOf(run: WatchedRun): RoutingIndex {
  const routing = run.routing()
  if (!routing)
    throw new ProblemError(404, `The run ${run.summary().name} has no routing: it is dense, or has no step yet.`)
  return routing
}

function routerOf(collection: Watched, c: Context): { run: WatchedRun; router: number } {
  const { run: id, router } = parseQuery(requestSchemas.router, c.req.query())
  const run = runOf(collection, id)
  const { routers } = routingOf(run)
  if (router >= routers.length) throw unknownRouter(router, routers.length)
  return { run, router }
}

/**
 * Refuses a response that is too large. All rows are as wide as the widest row, and a damaged file may combine one
 * router of 16,384 experts with many routers of one expert.
 */
function refuseLarge(name: string, value: number, floats: number): void {
  const bytes = floats * Float32Array.BYTES_PER_ELEMENT
  if (bytes > MAX_RESPONSE_BYTES)
    throw new ProblemError(
      400,
      `invalid ${name}: ${value} (at most ${MAX_RESPONSE_BYTES} bytes at a time; this is ${bytes})`,
    )
}

const unknownRouter = (router: number, routers: number): ProblemError =>
  new ProblemError(404, `unknown router: ${router} (there are ${routers}, from 0)`)

async function jsonOf(c: Context): Promise<unknown> {
  try {
    return await c.req.json()
  } catch {
    throw new ProblemError(400, 'The request is not JSON.')
  }
}

/** A response of floats in the byte order of this machine, which is little endian on x86-64 and ARM64. */
function floats(c: Context, { buffer, byteOffset, byteLength }: Float32Array): Response {
  const bytes = new Uint8Array(buffer, byteOffset, byteLength) as Uint8Array<ArrayBuffer>
  return c.body(bytes, 200, { 'content-type': 'application/octet-stream' })
}

const index = z.int().min(0)
const run = z.string()

const requestSchemas = {
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
function parseQuery<Schema extends z.ZodType>(
  schema: Schema,
  query: Readonly<Record<string, string>>,
): z.output<Schema> {
  const fields = Object.entries(query)
    .filter(([name, value]) => value !== '' && name !== 'token')
    .map(([name, value]) => [name, !TEXT_FIELDS.has(name) && NUMBER.test(value) ? Number(value) : value])
  return parseInput(schema, Object.fromEntries(fields), 'request')
}
