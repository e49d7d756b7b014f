/**
 * `choir export` as a user runs it: its files and its report, its refusals, and its clean-up when it is stopped.
 *
 * @slow
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RunInput } from '../../src/core/config/run-config.ts'
import type { ExportReport } from '../../src/use/interchange/export/report.ts'
import { expectSuccess, prose, Workspace } from './support.ts'

let workspace: Workspace
/** Runs of a mixture that other libraries know as Qwen3-MoE, and of a mixture by prototypes, which none knows. */
let known: string
let prototypes: string

const steps: RunInput = { train: { steps: 4, evalEvery: 4, checkpointEvery: 4 } }

beforeAll(async () => {
  workspace = new Workspace()
  known = workspace.file('known')
  prototypes = workspace.file('prototypes')
  const qwen: RunInput['model'] = {
    vocabulary: 260,
    activation: 'swiglu',
    queryKeyNorm: 'head',
    moe: { experts: 4, k: 2, router: 'top-k', renormalize: true, capacity: 'kx', factor: 0.75, evalFactor: 1 },
  }
  const byPrototypes: RunInput['model'] = { moe: { experts: 4, k: 1, router: 'prototype', prototypes: 2 } }
  const train = (model: RunInput['model'], out: string) =>
    expectSuccess(workspace.start('train', workspace.config({ ...steps, model }), '--out', out, '--json'))
  await Promise.all([train(qwen, known), train(byPrototypes, prototypes)])
}, 120_000)
afterAll(() => workspace.remove())

async function exported(...args: string[]): Promise<ExportReport> {
  const { stdout } = await expectSuccess(workspace.start('export', ...args, '--json'))
  return JSON.parse(stdout.trim().split('\n').at(-1) as string)
}

describe('a model that others know', () => {
  test.each([
    ['hf', 'Qwen3MoeForCausalLM', 'model.safetensors'],
    ['onnx', 'an ONNX graph of its own', 'onnx/model.onnx'],
    ['gguf', 'qwen3moe of llama.cpp', 'model.gguf'],
  ])(
    'is exported to %s with the logits of the run',
    async (format, architecture, file) => {
      const report = await exported(known, '--format', format)
      const out = join(known, 'export', format)
      expect(report).toMatchObject({ kind: 'export', format, architecture, dtype: 'float32', out, step: 4 })
      for (const { name, bytes } of report.files) expect(readFileSync(join(out, name)).length).toBe(bytes)
      expect(report.files.map(({ name }) => name)).toContain(file)
      if ('missing' in report.logits) throw new Error(report.logits.missing)
      expect(report.logits.largest_difference).toBeLessThan(1e-4)
      if ('missing' in report.held_out || !report.held_out.as_trained) throw new Error('no losses')
      // At factor 0.75 a quarter of the choices is dropped, so the loss must change.
      expect(report.held_out.as_trained.train).not.toBe(report.held_out.dropless)
      expect(readFileSync(join(out, 'README.md'), 'utf8')).toContain(report.held_out.dropless.toFixed(4))
      expect(readdirSync(join(known, 'export')).filter((name) => name.startsWith('.'))).toEqual([])
    },
    60_000,
  )

  test('has the loss of the run after its export is imported', async () => {
    const back = workspace.file('back')
    await expectSuccess(workspace.start('import', join(known, 'export', 'hf'), '--out', back, '--json'))
    const text = workspace.file('other.txt')
    writeFileSync(text, prose(7, 4000))
    const loss = async (run: string) => {
      const { stdout } = await expectSuccess(workspace.start('eval', run, '--data', text, '--json'))
      return JSON.parse(stdout.trim().split('\n').at(-1) as string).loss as number
    }
    expect(Math.abs((await loss(back)) - (await loss(known)))).toBeLessThan(1e-5)
  }, 60_000)

  test('takes half of the space with weights of two bytes', async () => {
    const sizeOf = ({ files }: ExportReport) => files.find(({ name }) => name === 'model.safetensors')?.bytes ?? 0
    const half = await exported(known, '--format', 'hf', '--out', workspace.file('bf16'), '--dtype', 'bf16')
    const whole = statSync(join(known, 'export', 'hf', 'model.safetensors')).size
    expect(sizeOf(half) / whole).toBeGreaterThan(0.5)
    expect(sizeOf(half) / whole).toBeLessThan(0.53)
  }, 60_000)

  test('has no measured loss without the text of the run, and the report has the reason', async () => {
    const moved = new Workspace()
    try {
      const run = moved.file('run')
      await expectSuccess(moved.start('train', moved.config(steps), '--out', run, '--json'))
      rmSync(moved.file('corpus.txt'))
      const { stdout } = await expectSuccess(moved.start('export', run, '--format', 'onnx', '--json'))
      const report: ExportReport = JSON.parse(stdout.trim().split('\n').at(-1) as string)
      expect(report.held_out).toMatchObject({ missing: expect.stringContaining('corpus.txt') })
    } finally {
      moved.remove()
    }
  }, 60_000)
})

describe('prototypes', () => {
  test('have a folder with their own Python file', async () => {
    const { architecture, reason, files } = await exported(prototypes, '--format', 'hf')
    expect(architecture).toBe('ChoirForCausalLM, with its own modeling_choir.py')
    expect(reason).toContain('model.moe.router: "prototype"')
    expect(files.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['modeling_choir.py', 'configuration_choir.py', 'config.json', 'model.safetensors']),
    )
  }, 60_000)

  test('are refused as a GGUF file, with the reason, and nothing is written', async () => {
    const out = workspace.file('no-gguf')
    const { code, stderr } = await workspace.choir('export', prototypes, '--format', 'gguf', '--out', out)
    expect(code).toBe(2)
    expect(stderr).toContain('model.moe.router: "prototype"')
    expect(stderr).toContain('Use --format onnx')
    expect(existsSync(out)).toBe(false)
  })
})

describe('choir export refuses', () => {
  test('a folder with files', async () => {
    const out = workspace.file('occupied')
    mkdirSync(out)
    writeFileSync(join(out, 'mine.txt'), 'mine')
    const { code, stderr } = await workspace.choir('export', known, '--format', 'onnx', '--out', out)
    expect(code).toBe(2)
    expect(stderr).toContain(`invalid --out: "${out}" is not empty (expected a new or an empty folder)`)
    expect(readdirSync(out)).toEqual(['mine.txt'])
  })

  test('a run that does not exist, and a precision that ONNX files do not have', async () => {
    const missing = await workspace.choir('export', 'nowhere', '--format', 'onnx')
    expect([missing.code, missing.stdout]).toEqual([2, ''])
    const file = workspace.file('empty.txt')
    writeFileSync(file, '')
    const notRun = await workspace.choir('export', file, '--format', 'onnx')
    expect([notRun.code, notRun.stderr]).toEqual([2, expect.stringContaining(`choir: no run in "${file}" `)])
    const half = await workspace.choir(
      'export',
      known,
      '--format',
      'onnx',
      '--dtype',
      'f16',
      '--out',
      workspace.file('h'),
    )
    expect(half.code).toBe(2)
    expect(half.stderr).toContain('invalid --dtype: "f16" (expected float32 with --format onnx')
  })
})

test.skipIf(process.platform === 'win32')(
  'Ctrl-C ends an export with code 130, and nothing is left',
  async () => {
    const folder = workspace.file('stopped')
    const running = workspace.start('export', known, '--format', 'hf', '--out', join(folder, 'hf'), '--json')
    await running.line(({ kind, message }) => kind === 'prepare' && String(message).startsWith('writing'))
    running.kill('SIGINT')
    const { code, stderr } = await running.ended
    expect(code).toBe(130)
    expect(stderr).toContain('interrupted; nothing was written')
    expect(existsSync(folder)).toBe(false)
  },
  60_000,
)
