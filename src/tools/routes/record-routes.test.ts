/**
 * Records of trained models beside evaluations, traces of texts, and a float64 model that is computed by hand.
 *
 * @slow
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Vector } from '../../../test/witness/arithmetic.ts'
import { transformer } from '../../../test/witness/transformer.ts'
import type { CapacityRule } from '../../core/model/routing/contract.ts'
import { floatsOf } from '../../engine/contract/arena.ts'
import { operations } from '../../faces/cli/operations.ts'
import { main } from '../../faces/cli/program/main.ts'
import { fakeIo } from '../../faces/cli/testing/fake.ts'
import { defineConfig, Run, type RunInput, train } from '../../faces/library/index.ts'
import type { RoutedToken, RoutesHeader } from '../../node/routes/format.ts'
import { readRoutes } from '../../node/routes/read-routes.ts'
import { writeResponses } from '../../node/routes/write-responses.ts'
import { evaluateRun } from '../../use/runs/evaluate.ts'
import { loadModel } from '../../use/runs/trained-model.ts'
import { readAblation } from './ablation.ts'
import { writeAtlas } from './atlas/atlas.ts'
import { type RecordRunOptions, recordModel, recordRun } from './record-routes.ts'

type Moe = NonNullable<NonNullable<RunInput['model']>['moe']>

/** With fewer documents, a text is cut into sections. */
const DOCUMENTS = 24

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-routes-'))
  for (const domain of ['letters', 'songs']) mkdirSync(join(folder, 'texts', domain), { recursive: true })
  for (let i = 0; i < DOCUMENTS; i++)
    writeFileSync(
      join(folder, 'texts', i % 3 ? 'letters' : 'songs', `${i}.txt`),
      `Text ${i} has ${i * 7} words.\n`.repeat(3),
    )
  writeFileSync(join(folder, 'one.txt'), 'One text of more than a window, which is cut in three.')
})
afterAll(() => rmSync(folder, { recursive: true }))

/** Trains two steps of a small model. Its expert capacity is tight, so that tokens are dropped. */
async function trained(name: string, moe: Moe | null): Promise<string> {
  const directory = join(folder, name)
  const config = defineConfig({
    preset: 'tiny',
    model: { vocabulary: 300, sequence: 16, moe: moe && { experts: 4, evalFactor: 0.75, factor: 0.5, ...moe } },
    data: { source: join(folder, 'texts'), tokenizer: { kind: 'bytes' }, cache: join(folder, 'cache'), heldOut: 0.3 },
    train: { steps: 2, batch: 4 },
    runtime: { threads: 1 },
  })
  await train(config, { directory })
  return directory
}

let names = 0
async function recorded(run: string, options: Partial<RecordRunOptions> = {}) {
  const out = join(folder, `record-${names++}`)
  await recordRun(run, { out, ...options })
  return read(out)
}

/** A record with its tokens in the order of the text. */
async function read(out: string) {
  const { header, tokens } = await readRoutes(out)
  const all: RoutedToken[] = []
  for await (const token of tokens()) all.push(token)
  return { out, header, all: all.sort((a, b) => a.document - b.document || a.position - b.position) }
}

const routers: [string, Moe][] = [
  ['top-2', { k: 2 }],
  ['prototypes', { router: 'prototype', prototypes: 2, k: 1 }],
  ['sigmoids with biases, in attention too', { router: 'bias', scores: 'sigmoid', k: 2, attention: 'all' }],
]

describe.each(routers)('%s', (name, moe) => {
  let run: string
  beforeAll(async () => {
    run = await trained(name, moe)
  })

  test('the record of a text has the experts and gates of its trace', async () => {
    const { all, header } = await recorded(run, { source: join(folder, 'one.txt') })
    const model = await Run.load(run)
    const traced = await model.routing(readFileSync(join(folder, 'one.txt'), 'utf8'))
    await model.close()
    expect(all.map(({ text }) => text)).toEqual(traced.tokens)
    expect(header.routers.map(({ layer, module, choices }) => ({ layer, module, choices }))).toEqual(
      traced.routers.map(({ layer, module, choices }) => ({ layer, module, choices })),
    )
    for (const [r, { choices, expert, gate }] of traced.routers.entries())
      for (const [t] of traced.tokens.entries()) {
        const route = all[t]?.routes[r]
        expect(route?.experts).toEqual(expert.slice(t * choices, (t + 1) * choices))
        for (const [j, found] of (route?.gates ?? []).entries())
          expect(found).toBeCloseTo(gate[t * choices + j] as number, 3)
      }
  })

  test('experts, gates and entropies are those of a float64 model that is computed by hand', async () => {
    const { all, header } = await recorded(run, { source: join(folder, 'one.txt') })
    const model = await loadModel(run, {}, () => {})
    const { config, store, tokenizer } = model
    const parameters = new Map(
      store.specs.map(({ name, shape }) => [
        // Stacked experts have one name in the witness.
        name.replace('.{e}', ''),
        { shape, data: Float64Array.from(floatsOf(store.parameter(name))) },
      ]),
    )
    const ids = [tokenizer.endOfText, ...all.map(({ token }) => token)]
    const { sequence } = config.model
    for (let from = 0; from + sequence <= ids.length; from += sequence) {
      const tokens = Int32Array.from(ids.slice(from, from + sequence))
      const given = { config: config.model, parameters, tokens, batch: 1, training: false, capacity: 'none' } as const
      const { routings } = transformer(given)
      for (const [r, { layer, module, choices }] of header.routers.entries()) {
        const routing = routings.get(module === 'ffn' ? layer : (`${layer}.${module}` as `${number}.qkv`))
        for (let t = from === 0 ? 1 : 0; t < sequence; t++) {
          const route = all[from + t - 1]?.routes[r]
          const own = routing?.assignments.slice(t * (choices ?? 0), (t + 1) * (choices ?? 0)) ?? []
          expect(route?.experts).toEqual(own.map(({ expert }) => expert))
          for (const [j, { gate }] of own.entries()) expect(route?.gates[j]).toBeCloseTo(gate, 5)
          const entropies = (routing?.logits?.[t] ?? []).map((logits) => entropyOf(logits, config.model.moe?.scores))
          expect(route?.entropy).toBeCloseTo(entropies.reduce((a, b) => a + b) / entropies.length, 5)
        }
      }
    }
    await model.close()
  })

  test.each<CapacityRule>(['train', 'eval', 'none'])(
    'loss and drops are those of an evaluation (%s)',
    async (capacity) => {
      const source = join(folder, 'texts')
      // Three whole batches of four windows: the evaluation counts no filler.
      const { all, header } = await recorded(run, { source, capacity, tokens: 3 * 4 * 16 })
      const evaluated = await evaluateRun(run, { source, capacity, batches: 3 })
      expect(header.loss).toBeCloseTo(evaluated.loss, 6)
      expect(evaluated.evaluated_tokens - header.tokens).toBeOneOf([0, 1])
      const routes = all.flatMap(({ routes }) => routes)
      const dropped = routes.reduce((sum, { dropped }) => sum + dropped.length, 0)
      const choices = routes.length * (header.routers[0]?.choices as number)
      if (capacity === 'none') expect(dropped).toBe(0)
      else expect(dropped).toBeGreaterThan(0)
      // The evaluation counts the separator before the first document too, which may be dropped by each router.
      expect(Math.abs(dropped / choices - evaluated.drop_rate)).toBeLessThanOrEqual(1 / header.tokens)
      const entropy = mean(routes.map(({ entropy }) => entropy as number))
      expect(Math.abs(entropy - (evaluated.gate_entropy as number))).toBeLessThan(Math.log(4) / header.tokens)
    },
  )
})

/** A copy of a record whose tokens go to the experts after theirs, among the `size` experts of a prototype. */
function shifted(out: string, by: number, size: number): string {
  const copy = `${out}-shifted-${by}`
  cpSync(out, copy, { recursive: true })
  const table = join(copy, 'routes.jsonl')
  const move = (expert: number) => expert - (expert % size) + ((expert + by) % size)
  const rows = readFileSync(table, 'utf8').trimEnd().split('\n')
  const moved = rows.map((row) => {
    const { experts, dropped, ...rest } = JSON.parse(row) as { experts: number[]; dropped: number[] }
    return JSON.stringify({ ...rest, experts: experts.map(move), dropped: dropped.map(move) })
  })
  writeFileSync(table, `${moved.join('\n')}\n`)
  return copy
}

describe.each(routers)('a replay: %s', (name, moe) => {
  let run: string
  let source: string
  let own: Awaited<ReturnType<typeof recorded>>
  beforeAll(async () => {
    run = await trained(`replayed ${name}`, moe)
    source = join(folder, 'texts')
    own = await recorded(run, { source })
  })

  const decisions = (all: readonly RoutedToken[]) => all.map(({ routes }) => routes.map(({ experts }) => experts))

  test('of its own record, or of a part of it, is the same record', async () => {
    const part = await recorded(run, { source, tokens: 100 })
    for (const { out } of [own, part]) {
      const again = await recorded(run, { source, replay: out })
      expect(again.header.loss).toBeCloseTo(own.header.loss as number, 5)
      expect(again.header.replayed).toEqual(own.header.model)
      expect(decisions(again.all)).toEqual(decisions(own.all))
      for (const [t, { routes }] of again.all.entries())
        for (const [r, { gates }] of routes.entries())
          for (const [j, gate] of gates.entries())
            expect(gate).toBeCloseTo(own.all[t]?.routes[r]?.gates[j] as number, 5)
    }
  })

  test('sends every token to the given experts, whose gates are those of the model', async () => {
    const [router] = own.header.routers
    const size = (router?.experts as number) / (router?.prototypes as number)
    // The first router sees the same activations whatever is replayed, so its gates for all experts are known.
    const sums = own.all.map(({ routes }) => routes[0]?.gates[0] as number)
    for (let by = 1; by < size; by++) {
      const replay = shifted(own.out, by, size)
      const moved = await recorded(run, { source, replay })
      expect(decisions(moved.all)).toEqual(decisions((await read(replay)).all))
      expect(moved.header.loss).not.toBeCloseTo(own.header.loss as number, 6)
      for (const [t, { routes }] of moved.all.entries()) sums[t] = (sums[t] as number) + (routes[0]?.gates[0] as number)
    }
    // Gates of a softmax over the experts of a prototype add up to 1.
    if (moe.scores !== 'sigmoid') for (const sum of sums) expect(sum).toBeCloseTo(1, 5)
  })

  test('of answers of a server records their tokens, with the gates of the model', async () => {
    const file = join(folder, `${name}.jsonl`)
    if (moe.attention) {
      writeFileSync(file, '{}')
      await expect(recorded(run, { source, replay: file })).rejects.toThrow(
        /^invalid replay: the model has experts in attention, which answers of a server do not have/,
      )
      return
    }
    await writeResponses(own.out, file)
    const whole = await recorded(run, { source, replay: file })
    expect(whole.header).toMatchObject({ imported: file, tokens: own.header.tokens })
    expect(whole.header.replayed).toBeUndefined()
    expect(whole.header.loss).toBeCloseTo(own.header.loss as number, 5)
    expect(decisions(whole.all)).toEqual(decisions(own.all))

    // Other experts than the model's own, for a few documents.
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n').slice(3, 6)
    writeFileSync(file, lines.map((line) => `${line}\n`).join(''))
    const [router] = own.header.routers
    const other = shifted(own.out, 1, (router?.experts as number) / (router?.prototypes as number))
    const moved = join(folder, `${name}-moved.jsonl`)
    await writeResponses(other, moved)
    writeFileSync(moved, readFileSync(moved, 'utf8').split('\n').slice(3, 6).join('\n'))
    const [few, few2] = [await recorded(run, { source, replay: file }), await recorded(run, { source, replay: moved })]
    const isFew = ({ document }: { document: number }) => document >= 3 && document < 6
    expect(decisions(few.all)).toEqual(decisions(own.all.filter(isFew)))
    expect(decisions(few2.all)).toEqual(decisions((await read(other)).all.filter(isFew)))
    expect(few.header.documents).toEqual(own.header.documents.filter(isFew))
    expect(few.header.tokens).toBe(few.all.length)

    const answer = JSON.parse(lines[0] as string) as { token_ids: number[] }
    writeFileSync(file, JSON.stringify({ ...answer, token_ids: [256, ...answer.token_ids.slice(1)] }))
    await expect(recorded(run, { source, replay: file })).rejects.toThrow(
      /has token 256 at position 0 of document 3, and the text has token 84 \(.* write "position": -1\)/,
    )
    writeFileSync(file, JSON.stringify({ ...answer, document: 99 }))
    await expect(recorded(run, { source, replay: file })).rejects.toThrow(/has none of the tokens that are computed/)
    writeFileSync(file, `${lines[0]}\n${lines[0]}`)
    await expect(recorded(run, { source, replay: file })).rejects.toThrow(/has position 0 of document 3 twice/)
  })

  test('of a record of another text, or of other routers, is refused, and leaves nothing', async () => {
    const other = await trained(`other ${name}`, { k: 1, experts: 8 })
    const refused = (run: string, options: Partial<RecordRunOptions>) =>
      expect(recordRun(run, { out: join(folder, 'refused'), source, replay: own.out, ...options })).rejects
    await refused(run, { source: join(folder, 'one.txt') }).toThrow(/^invalid replay: .* is a record of another text/)
    await refused(other, {}).toThrow(/^invalid replay: .* of other routers \(expected the same layers, experts/)
    await refused(run, { ablate: 64 }).toThrow(/^invalid ablate: it has no effect with replay/)
    await refused(run, { replay: join(folder, 'none') }).toThrow(/^invalid record: .* has no routes\.json/)
    expect(existsSync(join(folder, 'refused'))).toBe(false)
  })
})

function entropyOf(logits: Vector, scores: 'softmax' | 'sigmoid' | undefined): number {
  const weights = [...logits].map((logit) => (scores === 'sigmoid' ? 1 / (1 + Math.exp(-logit)) : Math.exp(logit)))
  const total = weights.reduce((a, b) => a + b)
  return weights.reduce((nats, weight) => nats - (weight / total) * Math.log(weight / total), 0)
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b) / values.length

describe('a record', () => {
  let run: string
  beforeAll(async () => {
    run = await trained('plain', { k: 1 })
  })

  test('has every token of every document once, with its document, position and domain', async () => {
    const { all, header } = await recorded(run, { source: join(folder, 'texts'), format: 'parquet' })
    expect(
      header.documents.map(({ name, domain, tokens }) => [name.split('/').slice(-2).join('/'), domain, tokens]),
    ).toEqual(
      header.documents.map(({ name }) => {
        const path = name.split('/').slice(-2).join('/')
        const bytes = readFileSync(join(folder, 'texts', path)).length
        // The end of text is a token of its document, but for the last document only a target.
        const isLast = name === header.documents.at(-1)?.name
        return [path, path.split('/')[0], isLast ? bytes : bytes + 1]
      }),
    )
    expect(header.documents).toHaveLength(DOCUMENTS)
    for (const { document, name, tokens } of header.documents) {
      const own = all.filter((token) => token.document === document)
      expect(own.map(({ position }) => position)).toEqual(own.map((_, i) => i))
      const path = name.split('/').slice(-2).join('/')
      const text = readFileSync(join(folder, 'texts', path))
      expect(own.map(({ token }) => token).slice(0, text.length)).toEqual([...text])
      expect(own).toHaveLength(tokens)
    }
  })

  test('has the held-out text of the run by default, in both formats alike', async () => {
    const lines = await recorded(run)
    const columns = await recorded(run, { format: 'parquet' })
    const evaluated = await evaluateRun(run)
    expect(lines.header.tokens).toBe(evaluated.evaluated_tokens - 1)
    expect(lines.all.map(rounded)).toEqual(columns.all.map(rounded))
  })

  test('of some tokens has whole windows from all of the text, at least one', async () => {
    const { all, header } = await recorded(run, { source: join(folder, 'texts'), tokens: 100 })
    expect(header.tokens).toBeLessThanOrEqual(100)
    expect(header.tokens).toBeGreaterThan(90)
    expect(new Set(all.map(({ document }) => document)).size).toBeGreaterThan(4)
    expect(header.text.tokens).toBeGreaterThan(500)
    expect((await recorded(run, { source: join(folder, 'texts'), tokens: 1 })).header.tokens).toBeGreaterThan(0)
  })

  test('where experts choose tokens has the experts that took a token', async () => {
    const chosen = await trained('chosen', { router: 'expert-choice', k: 1 })
    const { all, header } = await recorded(chosen, { source: join(folder, 'texts'), capacity: 'eval' })
    expect(header.routers[0]?.choices).toBeNull()
    const counts = new Set(all.map(({ routes }) => routes[0]?.experts.length))
    expect(counts.size).toBeGreaterThan(1)
    const free = await recorded(chosen, { source: join(folder, 'texts'), capacity: 'none' })
    expect(new Set(free.all.map(({ routes }) => routes[0]?.experts.length))).toEqual(new Set([1]))
  })

  test('of a router without weights has no entropy, and is not replayed', async () => {
    const hashed = await trained('hashed', { router: 'hash', k: 1 })
    const { all, out } = await recorded(hashed)
    const again = recordRun(hashed, { out: join(folder, 'refused'), replay: out })
    await expect(again).rejects.toThrow(/^invalid replay: the router of the model is hash \(expected one that scores/)
    expect(new Set(all.map(({ routes }) => routes[0]?.entropy))).toEqual(new Set([null]))
  })

  test('is written whole or not at all', async () => {
    const out = join(folder, 'stopped')
    let checks = 0
    const signal = {
      get aborted() {
        return checks > 2
      },
      throwIfAborted() {
        if (++checks > 2) throw new Error('stopped in the second batch')
      },
    } as AbortSignal
    await expect(recordRun(run, { out, source: join(folder, 'texts'), signal })).rejects.toThrow('in the second batch')
    expect(existsSync(out)).toBe(false)
    expect(readdirSync(folder).filter((name) => name.includes('stopped'))).toEqual([])
  })

  test('overwrites no folder, and none is made for a dense model', async () => {
    const out = join(folder, 'texts')
    await expect(recordRun(run, { out })).rejects.toThrow(/^invalid out: .*texts" is not empty \(expected a new or an/)
    const dense = await trained('dense', null)
    const command = async (...args: string[]) => {
      const fake = fakeIo({ operations: { recordRoutes: operations.recordRoutes } })
      return { code: await main(['routing', ...args], fake.io), error: fake.stderr.text }
    }
    const { code, error } = await command(dense, '--out', join(folder, 'none'))
    expect(code).toBe(2)
    expect(error).toMatch(/dense model, which routes nothing/)
    expect(existsSync(join(folder, 'none'))).toBe(false)
    expect(await command(run, '--out', out)).toMatchObject({ code: 2, error: expect.stringMatching(/invalid --out: /) })
    expect(await command(run)).toMatchObject({ code: 2, error: expect.stringMatching(/missing --out/) })
  })
})

const rounded = ({ routes, ...token }: RoutedToken) => ({
  ...token,
  routes: routes.map(({ experts, gates, entropy, dropped }) => ({
    experts: [...experts],
    gates: gates.map(Math.fround),
    entropy: entropy === null ? null : Math.fround(entropy),
    dropped: [...dropped],
  })),
})

test('the description names model, text and routers', async () => {
  const run = await trained('named', { k: 2 })
  const { header } = await recorded(run, { weights: 'int8', source: [join(folder, 'one.txt')] })
  expect(header).toMatchObject({
    kind: 'routes',
    format: 1,
    model: { directory: run, step: 2, weights: 'int8', engine: { math: 'float32', threads: 1 } },
    text: { source: join(folder, 'one.txt'), documents: 1 },
    capacity: 'none',
    file: 'routes.jsonl',
  } satisfies Partial<Record<keyof RoutesHeader, unknown>>)
  expect(header.routers).toHaveLength((header.model.config as { layers: number }).layers)
})

describe('what experts are worth', () => {
  /** Tokens of a batch. */
  const BATCH = 4 * 16

  test('is the loss with zeros in the place of an expert, minus the loss with it; the weights stay as they are', async () => {
    const run = await trained('ablated', { k: 2 })
    const model = await loadModel(run, {}, () => {})
    const record = async (options: { ablate?: number } = {}) => {
      const out = join(folder, `ablated-${names++}`)
      const { loss } = await recordModel(model, { out, tokens: BATCH, ...options })
      return { out, loss: loss as number }
    }
    const measured = await record({ ablate: 1 })
    const ablation = await readAblation(measured.out)
    expect(ablation).toMatchObject({ batches: 1, loss: measured.loss })
    expect(await record()).toMatchObject({ loss: measured.loss })
    let moved = 0
    for (const { layer, experts } of ablation?.routers ?? [])
      for (const [expert, { rise, interval }] of experts.entries()) {
        const down = floatsOf(model.store.parameter(`layers.${layer}.moe.experts.{e}.down`, expert))
        const kept = down.slice()
        down.fill(0)
        const { loss } = await record()
        down.set(kept)
        expect(loss - measured.loss, `layer ${layer}, expert ${expert}`).toBeCloseTo(rise, 12)
        expect(interval).toBeNull()
        if (rise !== 0) moved++
      }
    expect(moved).toBeGreaterThan(4)
    await model.close()

    const atlas = await writeAtlas(measured.out)
    expect(atlas.ablation).toMatchObject({ batches: 1, loss: measured.loss })
    expect(atlas.routers[1]?.of[2]?.ablation).toEqual(ablation?.routers[1]?.experts[2])
    expect(readFileSync(join(measured.out, 'atlas.html'), 'utf8')).toContain('Without it the loss changes by ')
  })

  test.each(['int8', 'int4'] as const)(
    'is measured with weights of %s, with intervals over batches',
    async (weights) => {
      const run = await trained(`ablated-${weights}`, { k: 1 })
      const { out, header } = await recorded(run, { weights, ablate: 6 * BATCH })
      const ablation = await readAblation(out)
      expect(ablation?.batches).toBe(6)
      const all = ablation?.routers.flatMap(({ experts }) => experts) ?? []
      expect(all).toHaveLength(8)
      for (const { rise, interval } of all) {
        expect(interval?.[0]).toBeLessThanOrEqual(rise)
        expect(interval?.[1]).toBeGreaterThanOrEqual(rise)
      }
      expect(all.some(({ rise }) => rise !== 0)).toBe(true)
      expect((await recorded(run, { weights })).header.loss).toBe(header.loss)
    },
  )

  test('a damaged file is named', async () => {
    const { out } = await recorded(await trained('ablated-damaged', {}), { ablate: 1 })
    for (const [text, reason] of [
      ['{', /ablation\.json: it is no JSON/],
      ['{"kind":"ablation"}', /ablation\.json: format: /],
    ] as const) {
      writeFileSync(join(out, 'ablation.json'), text)
      await expect(writeAtlas(out)).rejects.toThrow(reason)
    }
  })
})
