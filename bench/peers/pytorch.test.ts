/** @slow */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { UsageError } from '../../src/core/errors.ts'
import { findPyTorch } from './python.ts'
import {
  checkPeer,
  expectDocumented,
  type PeerCase,
  type PeerVariant,
  PyTorchGenerator,
  PyTorchPeer,
  PyTorchProducts,
  peerVariants,
} from './pytorch.ts'

// Compilation takes a minute with an empty cache. CHOIR_PEER_COMPILED=1 tests the compiled code of benchmarks.
if (!process.env.CHOIR_PEER_COMPILED) process.env.TORCHDYNAMO_DISABLE = '1'

const python = await findPyTorch().catch((error: Error) => {
  console.warn(`skipping the tests of the PyTorch peer: ${error.message}`)
  return undefined
})
const options = { threads: 1, ...(python && { python }) }
const slow = { timeout: 120_000 }

test('a missing PyTorch is reported with how to install it', async () => {
  await expect(findPyTorch('no-such-python')).rejects.toThrow(/no-such-python.*apt-get install python3-torch/)
})

const documented = {
  libraries: ['/usr/lib/x86_64-linux-gnu/libgomp.so.1', '/usr/lib/x86_64-linux-gnu/openblas-openmp/libopenblas.so.0'],
  mkl: false,
  threads: 2,
  compiled: false,
}

test('PyTorch is measured only with the libraries of Debian or with MKL, or where its libraries cannot be listed', () => {
  const expected = { threads: 2, compiled: false }
  for (const info of [
    documented,
    { ...documented, libraries: [], mkl: true },
    { ...documented, libraries: ['unknown'] },
  ])
    expect(() => expectDocumented(info, expected)).not.toThrow()
  expect(() => expectDocumented({ ...documented, compiled: true }, { threads: 2, compiled: true })).not.toThrow()
})

test.each([
  [
    'another OpenBLAS',
    { libraries: ['/usr/lib/openblas-pthread/libopenblas.so.0'] },
    /its BLAS is .*pthread.*libopenblas0-openmp/,
  ],
  [
    'the reference BLAS',
    { libraries: ['/usr/lib/x86_64-linux-gnu/blas/libblas.so.3'] },
    /its BLAS is .*libblas\.so\.3/,
  ],
  ['no BLAS that is known', { libraries: ['/usr/lib/libgomp.so.1'] }, /its BLAS is unknown/],
  ['other threads', { threads: 1 }, /it uses 1 threads \(expected 2/],
  ['no compiler', {}, /torch\.compile .*libsleef-dev/],
])('a PyTorch with %s is refused', (_, other, message) => {
  expect(() => expectDocumented({ ...documented, ...other }, { threads: 2, compiled: true })).toThrow(message)
})

test('the description that a peer sends of itself is checked', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'choir-peer-'))
  try {
    const fake = join(folder, 'python3')
    const hello = { ready: true, torch: '2.6', onednn: true, precision: 'float32', parameters: 1, balanced: false }
    const other = { ...documented, libraries: ['/usr/lib/openblas-pthread/libopenblas.so.0'] }
    const answer = JSON.stringify({ ...hello, ...other, device: 'cpu' })
    await writeFile(fake, `#!/bin/sh\n[ "$1" = -c ] && exit 0\necho '${answer}'\ncat > /dev/null\n`, { mode: 0o755 })
    const peer = await PyTorchPeer.start({ ...shape, sequence: 16, batch: 2 }, 'top1', { python: fake, threads: 2 })
    expect(() => expectDocumented(peer.info, { threads: 2, compiled: false })).toThrow(/its BLAS is .*openblas-pthread/)
    await peer.stop()
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

const shape = { layers: 2, width: 8, heads: 2, experts: 8, hidden: 6, vocabulary: 11 }

describe.skipIf(!python)('the PyTorch peer', () => {
  test(
    'losses equal the losses of a loop-by-loop model, and gradients a central difference, for every variant',
    slow,
    async () => {
      const seed = 17
      const { tokens, parameters } = randomCase(seed)
      const plain = Object.fromEntries(Object.entries(parameters).map(([name, values]) => [name, Array.from(values)]))
      const folder = await mkdtemp(join(tmpdir(), 'choir-peer-'))
      try {
        const path = join(folder, 'case.json')
        await writeFile(path, JSON.stringify({ tokens, parameters: plain } satisfies PeerCase))
        const checks = await checkPeer(shape, path, options)
        expect(checks.map(({ variant }) => variant)).toEqual(peerVariants)
        for (const found of checks) {
          const note = `${found.variant}, seed ${seed}`
          const wanted = witness(tokens, parameters, found.variant)
          expect(found.loss, note).toBeCloseTo(wanted.loss, 9)
          expect(found.balance, note).toBeCloseTo(wanted.balance, 9)
          expect(found.z, note).toBeCloseTo(wanted.z, 9)
          expect(found.keptShare, note).toBeCloseTo(wanted.keptShare, 12)
          // A case without drops would not test capacity.
          expect(found.keptShare < 1, note).toBe(found.variant !== 'dropless-top1')
          expect(found.total, note).toBeCloseTo(wanted.loss + 0.01 * wanted.balance + 0.001 * wanted.z, 9)
          const gap = Math.abs(found.slope - found.differenceSlope)
          expect(gap, note).toBeLessThan(1e-5 * Math.max(1, Math.abs(found.slope)))
        }
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    },
  )

  test('a run returns one time per step, and balanced routing drops nothing', slow, async () => {
    const peer = await PyTorchPeer.start({ ...shape, sequence: 16, batch: 2 }, 'top2', { ...options, balanced: true })
    try {
      expect(peer.info).toMatchObject({ threads: 1, balanced: true })
      const first = await peer.run(2)
      expect(first.stepMs).toHaveLength(2)
      expect(first.tokens).toBe(2 * 32)
      expect(first.keptShare).toBe(1)
      first.stepMs.forEach((total, i) => {
        expect(total).toBeCloseTo((first.gradientMs[i] as number) + (first.updateMs[i] as number), 6)
      })
      await expect(peer.run(0)).rejects.toThrow(UsageError)
      expect((await peer.run(1)).stepMs, 'the peer survives a refused command').toHaveLength(1)
    } finally {
      await peer.stop()
    }
    await expect(peer.run(1)).rejects.toThrow('the PyTorch peer ended')
  })

  // Balanced routing is fixed, so rounding cannot send a token to another expert.
  test('bf16 trains like float32, within rounding', slow, async () => {
    const size = { ...shape, width: 32, hidden: 48, vocabulary: 64, sequence: 32, batch: 4 }
    const losses = async (precision: 'float32' | 'bf16') => {
      const peer = await PyTorchPeer.start(size, '2top1-1x', { ...options, balanced: true, precision })
      try {
        expect(peer.info).toMatchObject({ precision })
        const found: number[] = []
        for (let step = 0; step < 12; step++) found.push((await peer.run(1)).loss)
        return found
      } finally {
        await peer.stop()
      }
    }
    const [whole, half] = [await losses('float32'), await losses('bf16')]
    whole.forEach((loss, step) => {
      // 8 bits of mantissa: a relative error of 1/256 for one rounding; a loss averages 128 tokens.
      expect(Math.abs((half[step] as number) - loss) / loss, `step ${step}`).toBeLessThan(1 / 256)
    })
    const mean = (list: number[]) => list.reduce((sum, loss) => sum + loss, 0) / list.length
    expect(Math.abs(mean(half) - mean(whole)) / mean(whole)).toBeLessThan(1 / 1024)
    expect(half, 'bf16 is in use').not.toEqual(whole)
  })

  test('a float32 step by autograd has the loss of the step that is written by hand', slow, async () => {
    const losses = async (autograd: boolean) => {
      const size = { ...shape, sequence: 16, batch: 2 }
      const peer = await PyTorchPeer.start(size, 'top2', { ...options, balanced: true, autograd, compile: false })
      try {
        expect(peer.info).toMatchObject({ precision: 'float32', device: 'cpu' })
        return [(await peer.run(1)).loss, (await peer.run(3)).loss]
      } finally {
        await peer.stop()
      }
    }
    const [usual, byHand] = [await losses(true), await losses(false)]
    for (const [i, loss] of byHand.entries()) expect(usual[i]).toBeCloseTo(loss, 5)
  })

  test('a device that PyTorch does not find is refused', slow, async () => {
    const start = PyTorchProducts.start({ ...options, device: 'mps' })
    await expect(start).rejects.toThrow(/--device mps: PyTorch finds none/)
  })

  test.each([
    ['top2', 'float32'],
    ['4top1-1x', 'bf16'],
  ] as const)('the cache gives the same tokens as a fresh prompt (%s, %s)', slow, async (variant, precision) => {
    const size = { ...shape, width: 32, hidden: 48, vocabulary: 64 }
    const generator = await PyTorchGenerator.start(size, variant, { ...options, precision })
    try {
      expect(generator.info).toMatchObject({ threads: 1, precision })
      const prompt = [3, 1, 4, 1, 5, 9, 2, 6]
      const { tokens, msPerToken, prefillMs, tokensPerSecond } = await generator.generate(9, prompt)
      expect(tokens).toHaveLength(9)
      expect(msPerToken).toHaveLength(8)
      expect(prefillMs).toBeGreaterThan(0)
      expect(tokensPerSecond).toBeCloseTo(8000 / msPerToken.reduce((a, b) => a + b, 0), 6)
      for (let known = 1; known < 9; known++) {
        const fresh = await generator.generate(2, [...prompt, ...tokens.slice(0, known)])
        expect(fresh.tokens[0], `after ${known} tokens`).toBe(tokens[known])
      }
      expect((await generator.generate(2, 5)).tokens, 'a random prompt of 5').toHaveLength(2)
      await expect(generator.generate(1, 5)).rejects.toThrow(/generate: 1 .*at least 2/)
      await expect(generator.generate(2, [64])).rejects.toThrow(/ids from 0 to 63/)
    } finally {
      await generator.stop()
    }
  })

  test('an invalid shape is refused with the reason', slow, async () => {
    const start = PyTorchPeer.start({ ...shape, experts: 6, sequence: 4, batch: 1 }, '4top1-1x', options)
    await expect(start).rejects.toThrow(/--experts 6: must be a multiple of 4/)
  })
})

type Parameters = Record<string, Float64Array>

/** Parameters large enough for uneven routing, and one batch of 3 sequences of 9 tokens. */
function randomCase(seed: number): { tokens: number[][]; parameters: Parameters } {
  let state = seed
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state + 0.5) / 2 ** 32
  }
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform())
  const { layers, width: d, hidden: f, experts: n, vocabulary } = shape
  const draw = (length: number, scale = 0.6) => Float64Array.from({ length }, () => scale * normal())
  const parameters: Parameters = { embedding: draw(vocabulary * d, 1), norm: draw(d, 1) }
  for (let l = 0; l < layers; l++)
    Object.assign(parameters, {
      [`layers.${l}.attention.norm`]: draw(d, 1),
      [`layers.${l}.attention.qkv`]: draw(3 * d * d),
      [`layers.${l}.attention.output`]: draw(d * d),
      [`layers.${l}.moe.norm`]: draw(d, 1),
      [`layers.${l}.moe.router`]: draw(d * n),
      [`layers.${l}.moe.experts.up`]: draw(n * d * f),
      [`layers.${l}.moe.experts.down`]: draw(n * f * d),
    })
  const tokens = Array.from({ length: 3 }, () => Array.from({ length: 10 }, () => Math.floor(uniform() * vocabulary)))
  return { tokens, parameters }
}

/** The model by its definition, one number at a time. */
function witness(tokens: number[][], parameters: Parameters, variant: PeerVariant) {
  const { layers, width: d, heads, experts: n, hidden: f, vocabulary } = shape
  const get = (name: string) => parameters[name] as Float64Array
  const times = (x: ArrayLike<number>, w: Float64Array, columns: number, offset = 0) =>
    Array.from({ length: columns }, (_, j) =>
      Array.from(x).reduce((sum, value, i) => sum + value * (w[offset + i * columns + j] as number), 0),
    )
  const norm = (x: number[], w: Float64Array) => {
    const scale = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / d + 1e-5)
    return x.map((v, i) => v * scale * (w[i] as number))
  }
  const logSumExp = (x: number[]) => Math.max(...x) + Math.log(x.reduce((s, v) => s + Math.exp(v - Math.max(...x)), 0))
  const prototypes = Number(/^(\d)top1/.exec(variant)?.[1] ?? 1)
  const k = variant === 'top2' ? 2 : 1
  const each = n / prototypes
  const sequences = tokens.map((row) => row.slice(0, -1))
  const total = sequences.length * (sequences[0] as number[]).length
  const activated = variant.endsWith('1x') ? 1 : prototypes * k
  const capacity = variant === 'dropless-top1' ? Infinity : Math.ceil(((activated * total) / n) * 1.25)

  const rowOf = (token: number) => Array.from(get('embedding').subarray(token * d, (token + 1) * d))
  let x = sequences.flat().map((token) => rowOf(token).map((value) => (value * d) / 3))
  const result = { loss: 0, balance: 0, z: 0, keptShare: 0 }
  for (let l = 0; l < layers; l++) {
    const at = `layers.${l}`
    const qkv = x.map((row) => times(norm(row, get(`${at}.attention.norm`)), get(`${at}.attention.qkv`), 3 * d))
    const length = total / sequences.length
    x = x.map((row, t) => {
      const mixed = attend(qkv, t - (t % length), t, d, heads)
      return times(mixed, get(`${at}.attention.output`), d).map((v, i) => v + (row[i] as number))
    })

    const inputs = x.map((row) => norm(row, get(`${at}.moe.norm`)))
    const logits = inputs.map((row) => times(row, get(`${at}.moe.router`), n))
    const choices: { token: number; expert: number; gate: number }[] = []
    for (let choice = 0; choice < k; choice++)
      logits.forEach((row, token) => {
        for (let z = 0; z < prototypes; z++) {
          const local = row.slice(z * each, (z + 1) * each)
          const order = local.map((_, i) => i).sort((a, b) => (local[b] as number) - (local[a] as number))
          const chosen = order[choice] as number
          const gate = Math.exp((local[chosen] as number) - logSumExp(local))
          choices.push({ token, expert: z * each + chosen, gate })
        }
      })
    for (let z = 0; z < prototypes; z++) {
      for (let e = z * each; e < (z + 1) * each; e++) {
        const share = choices.filter(({ expert }) => expert === e).length / (total * k)
        for (const row of logits)
          result.balance +=
            (each * share * Math.exp((row[e] as number) - logSumExp(row.slice(z * each, (z + 1) * each)))) /
            (total * prototypes)
      }
      for (const row of logits) result.z += logSumExp(row.slice(z * each, (z + 1) * each)) ** 2 / (total * prototypes)
    }
    const load = new Array<number>(n).fill(0)
    for (const { token, expert, gate } of choices) {
      const before = load[expert] as number
      load[expert] = before + 1
      if (before >= capacity) continue
      result.keptShare += 1 / (choices.length * layers)
      const hidden = times(inputs[token] as number[], get(`${at}.moe.experts.up`), f, expert * d * f).map(gelu)
      const row = x[token] as number[]
      times(hidden, get(`${at}.moe.experts.down`), d, expert * f * d).forEach((v, i) => {
        row[i] = (row[i] as number) + gate * v
      })
    }
  }
  const targets = tokens.flatMap((row) => row.slice(1))
  x.forEach((row, t) => {
    const out = norm(row, get('norm'))
    const logits = Array.from({ length: vocabulary }, (_, v) =>
      out.reduce((sum, value, i) => sum + value * (get('embedding')[v * d + i] as number), 0),
    )
    result.loss += (logSumExp(logits) - (logits[targets[t] as number] as number)) / total
  })
  return result
}

/** Causal attention of the token at row `t` of a sequence that starts at row `start`, with rotary positions. */
function attend(qkv: number[][], start: number, t: number, d: number, heads: number): number[] {
  const size = d / heads
  const rotated = (row: number, offset: number) => {
    const v = (qkv[row] as number[]).slice(offset, offset + size)
    return v.map((_, i) => {
      const pair = i % (size / 2)
      const angle = (row - start) * 10000 ** ((-2 * pair) / size)
      const [a, b] = [v[pair] as number, v[pair + size / 2] as number]
      return i < size / 2 ? a * Math.cos(angle) - b * Math.sin(angle) : b * Math.cos(angle) + a * Math.sin(angle)
    })
  }
  return Array.from({ length: heads }, (_, h) => {
    const query = rotated(t, h * size)
    const weights = Array.from({ length: t - start + 1 }, (_, j) => {
      const key = rotated(start + j, d + h * size)
      return Math.exp(query.reduce((sum, v, i) => sum + v * (key[i] as number), 0) / Math.sqrt(size))
    })
    const sum = weights.reduce((a, b) => a + b, 0)
    return Array.from({ length: size }, (_, i) =>
      weights.reduce((a, w, j) => a + (w / sum) * ((qkv[start + j] as number[])[2 * d + h * size + i] as number), 0),
    )
  }).flat()
}

/** x · Φ(x), with the series Φ(x) = ½ + φ(x) · Σ x^(2n+1) / (2n+1)!!, which converges everywhere. */
function gelu(x: number): number {
  let term = x
  let sum = x
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
    term *= (x * x) / (2 * n + 1)
    sum += term
  }
  return x * (0.5 + (Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)) * sum)
}
