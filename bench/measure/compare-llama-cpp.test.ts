import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { findLlamaCpp } from '../peers/llama-cpp.ts'
import { type LlamaCppRow, report } from './compare-llama-cpp.ts'

const row: LlamaCppRow = {
  ...{ model: 'olmoe, 6.92 B parameters, Q4_0', weights: 'int4', threads: 2, date: '2026-01-31' },
  ...{ prompt: 512, tokens: 100, turns: 3 },
  choir: {
    tokensPerSecond: 12.345,
    promptPerSecond: 88,
    peakMiB: 4321,
    firstTokenSeconds: 2.5,
    provider: 'oneDNN 3.7.2',
  },
  llama: {
    ...{ tokensPerSecond: 10, promptPerSecond: 110, peakMiB: 4000, firstTokenSeconds: 10 },
    ...{ withJavaScript: 9.876, package: '3.22.1', release: 'b1', kernels: null },
  },
  ratio: { tokensPerSecond: 1.2345, promptPerSecond: 0.8, peakMiB: 1.08, firstTokenSeconds: 0.25 },
  sameTokens: [0, 17, 100],
}

test('the report has a line for each measure, with both sides and their ratio', () => {
  const text = report([row])
  expect(text).toMatch(/^ {2}olmoe, 6\.92 B parameters, Q4_0$/m)
  expect(text).toMatch(/^ +Choir, int4 +llama\.cpp +Choir \/ llama\.cpp$/m)
  expect(text).toMatch(/^ {2}tokens\/s +12\.3 +10\.0 +1\.23$/m)
  expect(text).toMatch(/^ {2}tokens\/s of the prompt +88\.0 +110 +0\.80$/m)
  expect(text).toMatch(/^ {2}peak memory, MiB +4321 +4000 +1\.08$/m)
  expect(text).toMatch(/^ {2}first token, s +2\.50 +10\.0 +0\.25$/m)
})

test('the report names the conditions: threads, lengths, programs, the speed with JavaScript, and equal tokens', () => {
  const text = report([row, { ...row, model: 'another' }])
  expect(text).toContain('2 threads: 100 tokens after 512, 3 turns; Choir on oneDNN 3.7.2')
  expect(text).toContain('llama.cpp b1 (node-llama-cpp 3.22.1, kernels unknown)')
  expect(text).toContain('with sampling and JavaScript 9.88 tokens/s')
  expect(text).toContain('tokens until the texts differ: 0, 17, 100')
  expect(text.match(/^ {2}tokens\/s {2}/gm)).toHaveLength(2)
})

test('a missing llama.cpp is reported with how to install it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'choir-llama-'))
  try {
    expect(() => findLlamaCpp(folder)).toThrow(
      /has no node_modules\/node-llama-cpp.*npm install --prefix DIR .*node-llama-cpp@/,
    )
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
