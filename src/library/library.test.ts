import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defineConfig, plan, Run, train, UsageError, type WritingOptions } from './index.ts'

let folder: string
let run: Run
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-library-'))
  const source = join(folder, 'text.txt')
  await writeFile(
    source,
    Array.from({ length: 40 }, (_, i) => `Line ${i} of a text about ${i * 7} things.\n\n`).join(''),
  )
  const config = defineConfig({
    preset: 'tiny',
    model: { vocabulary: 300, sequence: 16 },
    data: { source, tokenizer: { kind: 'bytes' }, cache: join(folder, 'cache') },
    train: { steps: 3 },
    runtime: { threads: 1 },
  })
  await train(config, { directory: join(folder, 'run') })
  run = await Run.load(join(folder, 'run'))
})
afterAll(async () => {
  await run.close()
  await rm(folder, { recursive: true, force: true })
})

const written = async (options: WritingOptions): Promise<string> => {
  let text = ''
  for await (const piece of run.generate('Line', options)) text += piece
  return text
}

test('fields lie over those of the preset, and a wrong one is named', () => {
  const config = defineConfig({ preset: 'tiny', model: { moe: { k: 2 } } })
  expect(config.model.moe?.k).toBe(2)
  expect(config.model.width).toBe(defineConfig({ preset: 'tiny' }).model.width)
  expect(() => defineConfig({ train: { steps: 0 } })).toThrow(/train\.steps: 0/)
  expect(() => defineConfig({ preset: 'tyni' as never })).toThrow(/invalid preset: "tyni".*did you mean "tiny"/)
})

test('without types, a missing configuration or directory gives an error that names it', async () => {
  const untyped = { train, load: Run.load } as unknown as Record<string, (...given: unknown[]) => Promise<unknown>>
  const config = defineConfig({ preset: 'tiny' })
  await expect(untyped.train?.(config)).rejects.toThrow(/^invalid directory: undefined/)
  await expect(untyped.train?.(config, {})).rejects.toThrow(/^invalid directory: undefined/)
  await expect(untyped.train?.({}, { directory: join(folder, 'other') })).rejects.toThrow(
    /^invalid config .*defineConfig/,
  )
  await expect(untyped.load?.()).rejects.toThrow(/^invalid directory: undefined/)
})

test('the same seed gives the same text, also of two at once', async () => {
  const options = { tokens: 12, seed: 3 }
  const alone = await written(options)
  expect(await Promise.all([written(options), written(options)])).toEqual([alone, alone])
})

describe('an option out of range is refused before anything is written', () => {
  test.each([{ tokens: 0 }, { tokens: Number.NaN }, { temperature: -1 }, { topK: 1.5 }, { topP: 2 }, { seed: 0.5 }])(
    '%j',
    (options) => {
      expect(() => run.generate('Line', options)).toThrow(UsageError)
      expect(() => run.generate('Line', options)).toThrow(Object.keys(options)[0])
    },
  )
})

test('routing gives every token its experts, and the gates of dropless top-1', async () => {
  const { tokens, routers } = await run.routing('Line 7')
  expect(tokens.join('')).toBe('Line 7')
  for (const { experts, choices, expert, gate } of routers) {
    expect(expert).toHaveLength(tokens.length * choices)
    expect(expert.every((id) => id >= 0 && id < experts)).toBe(true)
    expect(gate.every((weight) => weight > 0 && weight <= 1)).toBe(true)
  }
  await expect(run.routing('')).rejects.toThrow(/invalid text/)
})

test('a plan takes a preset, or fields over one', async () => {
  const [named, given] = [await plan('m6t-base', 'v100-8'), await plan({ preset: 'm6t-base' }, 'v100-8')]
  expect(given.best[0]?.time.stepSeconds).toBe(named.best[0]?.time.stepSeconds)
  await expect(plan('m6t-base', 'v100')).rejects.toThrow(/unknown cluster "v100"/)
})

test('a closed run says so', async () => {
  const other = await Run.load(join(folder, 'run'))
  await other.close()
  await other.close()
  expect(() => other.generate('Line')).toThrow(/this run is closed/)
  await expect(async () => other.evaluate()).rejects.toThrow(/this run is closed/)
})
