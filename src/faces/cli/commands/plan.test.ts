/** @slow */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadConfig } from '../../../node/run/load-config.ts'
import { plan } from '../../../tools/plan/plan.ts'
import { ncclNode } from '../../../tools/plan/testing/measured-outputs.ts'
import { whatIf } from '../../../tools/plan/what-if.ts'
import type { Operations } from '../operations.ts'
import { main } from '../program/main.ts'
import { fakeIo } from '../testing/fake.ts'
import { type TraceEvent, traceProblems } from '../testing/trace-event-format.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-plan-cli-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A function that computes each result once, since many tests show the same plan in other forms. */
function once<Args extends readonly unknown[], Result>(compute: (...args: Args) => Result): (...args: Args) => Result {
  const known = new Map<string, Result>()
  return (...args) => {
    const key = JSON.stringify(args)
    const result = known.get(key) ?? compute(...args)
    known.set(key, result)
    return result
  }
}

const operations: Partial<Operations> = {
  plan: once(plan),
  whatIf: once(whatIf),
}

async function planned(...args: string[]) {
  const fake = fakeIo({ terminal: false, operations })
  const code = await main(['plan', ...args], fake.io)
  return { code, out: fake.stdout.text, err: fake.stderr.text }
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** Paths of the nulls in a value. */
function nulls(value: Json, path: string): string[] {
  if (value === null) return [path]
  if (Array.isArray(value)) return value.flatMap((each, i) => nulls(each, `${path}[${i}]`))
  if (typeof value === 'object') return Object.entries(value).flatMap(([key, each]) => nulls(each, `${path}.${key}`))
  return []
}

const one = ['tiny', '--cluster', 'a100-1']
const many = ['m6t-base', '--cluster', 'v100-8']
const tooLarge = ['m6t-100b', '--cluster', 'v100-8']

describe('choir plan', () => {
  test('prints the layout of a run that fits on stdout, and exits with 0', async () => {
    const { code, out, err } = await planned(...many)
    expect(code).toBe(0)
    expect(err).toBe('')
    expect(out).toContain('m6t-base on v100-8')
    expect(out).toMatch(/best layout {2}data 8 · expert 8/)
    expect(out).toMatch(/tokens\/s/)
    expect(out).toMatch(/the whole training/)
    expect(out).not.toMatch(/NaN|undefined|Infinity|null/)
  })

  test('shows the traffic that a run measured beside the predicted one', async () => {
    const run = join(folder, 'measured')
    mkdirSync(run)
    const config = await loadConfig('tiny', ['parallel.expert=2', 'parallel.shards=2'])
    writeFileSync(join(run, 'config.json'), JSON.stringify({ version: '0.1.0', ...config }))
    const rows = [
      [0, 30],
      [10, 0],
    ]
    const bytes = [
      [0, 9000],
      [9000, 0],
    ]
    const record = { step: 1, layer: 0, module: 'ffn', first_rank: 0, rows, bytes }
    writeFileSync(join(run, 'ledger.jsonl'), `${JSON.stringify(record)}\n`)
    const { code, out } = await planned(...one, '--ledger', run)
    expect(code).toBe(0)
    expect(out).toContain(`measured in ${run}: 2 ranks share experts, 1 steps`)
    expect(out).toMatch(/ 0 +16\.4 kB +9\.00 kB +1\.50× +1\.50×/)
    const local = await planned('tiny', '--cluster', 'local', '--ledger', run)
    expect(local.err).toContain('invalid --ledger: not with --cluster local')
  })

  test('plans with the rates that files of measurements contain, and says so in text, JSON and HTML', async () => {
    const file = join(folder, 'all_reduce_perf.txt')
    writeFileSync(file, ncclNode)
    const { code, out } = await planned('M', '--cluster', 'h100-8', '--measured', file)
    expect(code).toBe(0)
    const line = `links.node.rate 369 GB/s to 455 GB/s (+23 %) by ${file}; 6 times met within 4 % (median)`
    expect(out).toContain(`measured    ${line}`)
    const html = join(folder, 'measured.html')
    const json = await planned('M', '--cluster', 'h100-8', '--measured', file, '--html', html, '--json')
    expect(JSON.parse(json.out).cluster.calibration).toMatchObject([
      { field: 'links.node.rate', files: [file], times: 6 },
    ])
    const page = readFileSync(html, 'utf8')
    expect(page).toContain(`measured: ${line}`)
    expect(page).toContain(`<span>--measured</span> <span>${file}</span>`)
    const wrong = await planned('M', '--cluster', 'h100-8', '--measured', join(folder, 'none'))
    expect([wrong.code, wrong.out]).toEqual([2, ''])
    expect(wrong.err).toContain('no such file')
  })

  test('prints the excess of memory and changes that would help if a run does not fit, and exits with 1', async () => {
    const { code, out, err } = await planned(...tooLarge)
    expect(code).toBe(1)
    expect(out).toContain('It does not fit in any layout (the closest: no, under 1 %).')
    expect(out).toContain('over by')
    expect(err).toBe('choir: m6t-100b does not fit on v100-8 in any layout\n')
    expect(out).not.toContain('the whole training')
    expect(out).not.toMatch(/NaN|undefined|Infinity|null/)
  })

  test.each([
    [['m6t-1t'], 'missing --cluster (NAME-COUNT such as v100-480, or a file)'],
    [['--cluster', 'v100-8'], "missing argument 'config' (a preset, or a YAML or JSON file)"],
    [['m6t-1', '--cluster', 'v100-8'], 'did you mean "m6t-1t"?'],
    [['m6t-1t', '--cluster', 'v100'], 'unknown cluster "v100"'],
    [['m6t-1t', '--cluster', 'v100-12'], 'must be a multiple of devicesPerNode 8'],
    [['m6t-1t', '--cluster', 'nowhere/at.yaml'], 'no such file: "nowhere/at.yaml"'],
    [['M', '--cluster', 'v100-8'], '(V100-SXM2-32GB has float32, float16; set plan.precision=float16)'],
    [['M', '--cluster', 'a100-8', '--set', 'plan.parallel.expert=5'], 'must divide model.moe.experts 32'],
    [['M', '--cluster', 'a100-8', '--set', 'plan.parallel.tensor=3'], 'must divide model.heads 8'],
    [['M', '--cluster', 'a100-8', '--set', 'plan.nothing=3'], 'unknown field plan.nothing: 3'],
    [['M', '--cluster', 'tpu-v3-8', '--set', 'plan.offload=all'], 'the cluster has no links.host'],
    [['M', '--cluster', 'a100-8', '--price', '-1'], 'invalid --price: "-1"'],
    [['M', '--cluster', 'a100-8', '--what-if', 'nothing'], 'invalid --what-if: "nothing"'],
    [['M', '--cluster', 'a100-8', '--set', 'plan.load.run=nowhere'], 'no run in "nowhere"'],
    [['M', '--cluster', 'a100-8', '--fits-with', '90'], 'invalid --fits-with: "90" (expected a probability from 0.001'],
    [['M', '--cluster', 'a100-8', '--fits-with', '100%'], 'invalid --fits-with: "100%"'],
    [['M', '--cluster', 'a100-8', '--calibrate'], 'invalid --calibrate: only --cluster local is measured'],
    [['tiny', '--cluster', 'local', '--measured', 'a'], 'invalid --measured: not with --cluster local'],
    [['tiny', '--cluster', 'local', '--price', '1'], 'invalid --price: not with --cluster local'],
    [['tiny', '--cluster', 'local', '--fits-with', '0.9'], 'invalid --fits-with: not with --cluster local'],
    [['tiny', '--cluster', 'local', '--what-if', 'routing'], 'invalid --what-if: not with --cluster local'],
  ])('%j is wrong usage: exit code 2, message on stderr only', async (args, message) => {
    const { code, out, err } = await planned(...args)
    expect(code).toBe(2)
    expect(err).toContain(message)
    expect(err).not.toContain('    at ')
    expect(out).toBe('')
  })

  test('refuses a binary file and an empty cluster file as wrong usage', async () => {
    const binary = join(folder, 'binary.yaml')
    const empty = join(folder, 'empty.yaml')
    writeFileSync(binary, Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 0, 1, 2, 0xff))
    writeFileSync(empty, '')
    for (const args of [
      [binary, '--cluster', 'a100-8'],
      ['M', '--cluster', binary],
      ['M', '--cluster', empty],
    ]) {
      const { code, out, err } = await planned(...args)
      expect([code, out]).toEqual([2, ''])
      expect(err).toMatch(/^choir: .*(binary|empty)\.yaml/)
    }
  })
})

describe('--json', () => {
  test.each([
    ['fits', many, 0],
    ['does not fit', tooLarge, 1],
    ['is on one device', one, 0],
  ])('is one object on one line with finite numbers if a run %s', async (_, args, expected) => {
    const { code, out } = await planned(...args, '--json')
    expect(code).toBe(expected)
    expect(out.trimEnd().split('\n')).toHaveLength(1)
    const plan = JSON.parse(out)
    expect(plan.kind).toBe('plan')
    // JSON writes a number that is not finite as null. In the settings under `run`, null is a valid value.
    expect(nulls(plan, '').filter((path) => !path.startsWith('.run.'))).toEqual([])
    expect(plan.best.length > 0).toBe(expected === 0)
    expect(plan.layouts).toBeGreaterThanOrEqual(plan.best.length)
  })

  test('with questions is the plan and one object for each question', async () => {
    const questions = ['--what-if', 'model.moe.factor=1,2', '--what-if', 'plan.load.cv=0,0.5,1']
    const { code, out } = await planned(...many, ...questions, '--json')
    expect(code).toBe(0)
    const [plan, ...answers] = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect([plan.kind, plan.cluster.name, plan.best.length > 0]).toEqual(['plan', 'v100-8', true])
    expect(answers.map(({ kind, field, cases }) => [kind, field, cases.length])).toEqual([
      ['what-if', 'model.moe.factor', 2],
      ['what-if', 'plan.load.cv', 3],
    ])
    for (const answer of answers) expect(nulls(answer, '').filter((path) => !path.includes('.run.'))).toEqual([])
  })

  test('has the price of a question that its text has too', async () => {
    const questions = ['--what-if', 'plan.load.cv=0,0.5']
    const { out } = await planned(...many, ...questions, '--price', '2.5', '--json')
    const [, answer] = out.trimEnd().split('\n')
    const [{ plan }] = JSON.parse(answer as string).cases
    const text = (await planned(...many, ...questions, '--price', '2.5')).out
    expect(text).toMatch(/dropped +price\n/)
    const [, printed] = /\d % +([\d.]+)\n/.exec(text) ?? []
    expect(Math.abs(Number(printed) / plan.budget.price - 1)).toBeLessThan(0.05)
    expect((await planned(...many, ...questions)).out).not.toContain('price')
  })

  test('has the same best layout as the text', async () => {
    const { best } = JSON.parse((await planned(...many, '--json')).out)
    const { data, expert } = best[0].layout
    expect((await planned(...many)).out).toContain(`best layout  data ${data} · expert ${expert}`)
  })
})

describe('whether a run fits', () => {
  const trillion = ['m6t-1t', '--cluster', 'v100-480']

  // 31.0 of 34.4 GB, with an 80 % interval of memory from 26.1 to 36.8 GB.
  test('is a probability where the interval crosses the memory of the device, in text, JSON and the report', async () => {
    expect((await planned(...trillion)).out).toMatch(/does it fit\? probably, 7\d %/)
    const { fits, fit_probability, best, cluster } = JSON.parse((await planned(...trillion, '--json')).out)
    expect(fits).toBe(true)
    expect(fit_probability).toBeGreaterThan(0.7)
    expect(fit_probability).toBeLessThan(0.8)
    expect(best[0].fit_probability).toBe(fit_probability)
    expect(best[0].memory.device_bytes * best[0].interval.memory).toBeGreaterThan(cluster.device.memory)
    const file = join(folder, 'fits.html')
    await planned(...trillion, '--html', file)
    expect(readFileSync(file, 'utf8')).toMatch(/probably, 7\d %; 12 of 288 layouts do/)
  })

  test.each(['0.9', '90%'])('has to be as certain as --fits-with %s says', async (probability) => {
    const { fits, best, run } = JSON.parse((await planned(...trillion, '--fits-with', probability, '--json')).out)
    expect(run.plan.fitsWith).toBe(0.9)
    expect(fits).toBe(best.length > 0)
    for (const each of best) expect(each.fit_probability).toBeGreaterThanOrEqual(0.9)
  })

  test('is no, with the probability of the closest layout, if none is certain enough', async () => {
    const fixed = ['--set', 'plan.microBatches=1', '--set', 'plan.recompute=none']
    const { code, out, err } = await planned(...trillion, ...fixed, '--fits-with', '90%')
    expect(code).toBe(1)
    expect(out).toMatch(/It does not fit in any layout with a probability of 90 % \(the closest: probably, 7\d %\)/)
    expect(err).toContain('does not fit on v100-480 in any layout with a probability of 90 %\n')
  })

  test('is said beside the note that the best of a search is an upper bound', async () => {
    expect((await planned(...trillion)).out).toContain('is an upper bound of the speed, not a forecast')
    const fixed = ['expert=1', 'data=1', 'tensor=1', 'pipeline=1'].flatMap((size) => ['--set', `plan.parallel.${size}`])
    const others = ['zero=0', 'microBatches=1', 'recompute=none'].flatMap((set) => ['--set', `plan.${set}`])
    expect((await planned(...one, ...fixed, ...others)).out).not.toContain('upper bound')
  })
})

describe('text', () => {
  const widest = (text: string) =>
    Math.max(
      ...stripVTControlCharacters(text)
        .split('\n')
        .map(({ length }) => length),
    )

  test.each([
    [['m6t-1t', '--cluster', 'v100-480']],
    [['m6t-100b', '--cluster', 'v100-32', '--set', 'plan.optimizer=adamw']],
    [['m6t-base', '--cluster', 'v100-8', '--what-if', 'routing']],
    [['M', '--cluster', 'h100-64', '--set', 'train.batch=256']],
  ])('for %j is at most 140 columns wide', async (args) => {
    expect(widest((await planned(...args)).out)).toBeLessThanOrEqual(140)
  })

  // A row that is wider than the terminal is written with the titles of its cells, and no cell is broken.
  test.each([60, 80])('has whole cells in a terminal of %d columns', async (columns) => {
    for (const args of [
      ['m6t-1t', '--cluster', 'v100-480'],
      ['m6t-100b', '--cluster', 'v100-32', '--set', 'plan.optimizer=adamw'],
      ['m6t-base', '--cluster', 'v100-8', '--what-if', 'plan.load.cv=0,0.5'],
    ]) {
      const fake = fakeIo({ terminal: true, columns, operations })
      await main(['plan', ...args], fake.io)
      const narrow = stripVTControlCharacters(fake.stdout.text)
      expect(widest(narrow)).toBeLessThanOrEqual(columns)
      const wide = stripVTControlCharacters((await planned(...args)).out)
      const cells = wide.match(/\d[\d.]* (GB|MB) \(\d+ %\)|MFU|(optimizer|weights) \d[\d.]* GB|[\d.]+ T?GB {2,}/g) ?? []
      expect(cells.length).toBeGreaterThan(1)
      for (const cell of cells) expect(narrow).toContain(cell.trim())
    }
  })

  test('says what uneven loads would cost, and how uneven chance alone makes them', async () => {
    const { out } = await planned('m6t-1t', '--cluster', 'v100-480')
    expect(out).toContain('1.20 tokens for an expert on average, with c_v 0.91 by chance alone')
    expect(out).toMatch(/a step with c_v 0\.2 takes .* \(0 %\), drops 14\.\d %; c_v 0\.5 takes .*, drops 18\.\d %/)
    expect(out).toMatch(/ 13\.\d % of assignments dropped/)
  })

  test('for layouts with long names is at most 130 columns wide', async () => {
    expect(widest((await planned('m6-10t', '--cluster', 'v100-512')).out)).toBeLessThanOrEqual(130)
  })

  test('prints the 80 % interval of step, rate, memory, days, device-hours and price', async () => {
    const { out } = await planned(...many, '--price', '2')
    expect(out).toMatch(/80 % interval: .* to .* a step, .* to .* tokens\/s, .* to .* of memory/)
    expect(out).toMatch(/80 % interval: .* to .*, [\d.,]+ to [\d.,]+ device-hours, a price of [\d.,]+ to [\d.,]+/)
    const { best, budget } = JSON.parse((await planned(...many, '--json')).out)
    expect(best[0].interval.time).toBeGreaterThan(1)
    expect(best[0].interval.memory).toBeGreaterThan(1)
    expect(budget.factor).toBe(best[0].interval.time)
  })

  test('warns about a device without fitted constants, in text, JSON and the report', async () => {
    const cluster = ['m6t-base', '--cluster', 'tpu-v3-8', '--set', 'plan.precision=bfloat16', '--set', 'plan.zero=null']
    expect((await planned(...cluster)).out).toContain('warning: the efficiencies of TPU v3 core')
    expect(JSON.parse((await planned(...cluster, '--json')).out).warnings).toHaveLength(1)
    const file = join(folder, 'warned.html')
    await planned(...cluster, '--html', file)
    expect(readFileSync(file, 'utf8')).toContain('the efficiencies of TPU v3 core')
  })

  test('reports a price if one is given', async () => {
    const { out } = await planned(...many, '--price', '100', '--set', 'plan.tokens=1e12')
    expect(out).toMatch(/device-hours, [\d,]+ at the given price/)
    expect((await planned(...many)).out).not.toContain('price')
  })

  test('does not round the cost of a short run to nothing', async () => {
    const { out } = await planned('M', '--cluster', 'a100-8', '--price', '0.5')
    expect(out).toMatch(/, (0\.0*[1-9]\d|[1-9]\.\d) device-hours, (0\.0*[1-9]\d|[1-9]\.\d) at the given price/)
  })

  test('reports the source of the loads and the work of the slowest rank', async () => {
    // The preset dispatches by one-hot matrices, which need a capacity; a plan without capacity gathers rows.
    const dropless = ['plan.load.cv=0.5', 'model.moe.capacity=none', 'plan.dispatch=gather'].flatMap((set) => [
      '--set',
      set,
    ])
    const { out } = await planned(...many, ...dropless)
    expect(out).toContain('c_v 0.5 in every layer')
    expect(out).toMatch(/The slowest rank computes 1\.\d\d times the mean; 0\.0 % of assignments dropped/)
  })

  test('for a dense model does not mention experts', async () => {
    const { code, out } = await planned('M', '--cluster', 'a100-8', '--set', 'model.moe=null')
    expect(code).toBe(0)
    expect(out).not.toMatch(/slowest rank|expert \d/)
  })
})

test('--html writes a self-contained report and prints its path', async () => {
  const file = join(folder, 'plan.html')
  const { code, out } = await planned(...many, '--html', file)
  expect(code).toBe(0)
  expect(out).toContain(`report  ${file}`)
  const html = readFileSync(file, 'utf8')
  expect(html).toMatch(/^<!doctype html>/i)
  expect(html).toContain('m6t-base')
  expect(html).not.toMatch(/NaN|undefined|Infinity|(src|href)="http/)
})

test('a training has a time with failures, unless a failure is unlikely or comes too soon', async () => {
  const block = async (...more: string[]) => (await planned(...many, ...more)).out
  expect(await block('--set', 'plan.tokens=1M')).not.toContain('with failures')
  expect(await block('--set', 'plan.tokens=1T')).toMatch(
    /with failures: \d+d .*goodput 9\d\.\d %\n +a failure every .*: assumed 20,000 device-hours, of the 7,700 to 51,000/,
  )
  const file = join(folder, 'failing.yaml')
  writeFileSync(file, 'extends: v100\ndevices: 8\nfailures: { deviceHours: 0.01 }\n')
  const { out } = await planned('m6t-base', '--cluster', file, '--set', 'plan.tokens=1T')
  expect(out).toMatch(/it hardly makes progress, with a failure every 4\.50 s and a restart of 10m 00s/)
  expect(out).not.toContain('energy')
})

test('--trace writes a timeline with a row for each stage, and refuses this machine', async () => {
  const file = join(folder, 'step.json')
  const { code, out } = await planned(...many, '--set', 'plan.parallel.pipeline=4', '--trace', file)
  expect(code).toBe(0)
  expect(out).toContain(`trace  ${file} (open it at ui.perfetto.dev)`)
  const trace = JSON.parse(readFileSync(file, 'utf8'))
  expect(traceProblems(trace)).toEqual([])
  const rows = (trace.traceEvents as TraceEvent[]).filter(({ name }) => name === 'thread_name')
  expect(rows.map(({ args }) => args?.name)).toEqual([1, 2, 3, 4].map((n) => `stage ${n} of 4, slowest rank`))
  const local = await planned('demo', '--cluster', 'local', '--trace', file)
  expect(local).toMatchObject({ code: 2, err: expect.stringContaining('invalid --trace: not with --cluster local') })
})

test('--what-if reports the lacking memory if no value fits', async () => {
  const file = join(folder, 'small.yaml')
  writeFileSync(file, 'extends: v100\ndevices: 8\ndevice: { memory: 4 GB }\n')
  const { out } = await planned('m6t-base', '--cluster', file, '--what-if', 'model.moe.factor=1,2')
  expect(out).toMatch(/does not fit: lacks [\d.]+ GB/)
})
