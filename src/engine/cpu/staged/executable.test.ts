/**
 * Tests of staged programs on their threads: failures, concurrent runs, and release.
 *
 * @slow
 */
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { leastGrowth } from '../../../../test/support/memory-growth.ts'
import { multiply } from '../../../core/graph/ops/elementwise.ts'
import { dispatch } from '../../../core/graph/ops/expert.ts'
import { rmsNorm } from '../../../core/graph/ops/fused.ts'
import { gather } from '../../../core/graph/ops/indexing.ts'
import { matmul } from '../../../core/graph/ops/matmul.ts'
import { sum } from '../../../core/graph/ops/reduction.ts'
import { scaledRow, tableRows } from '../../../core/graph/ops/token.ts'
import type { Program } from '../../../core/graph/program.ts'
import { cut } from '../../../core/graph/stages/cut.ts'
import { input, scope, type Tensor, withKernels } from '../../../core/graph/tensor.ts'
import { type EarlyExchange, type Executable, NOT_POSTED, type Runtime, RuntimeError } from '../../contract/runtime.ts'
import { createArena } from '../../native/cpu-arena.ts'
import { addressOf } from '../../native/ffi.ts'
import { Inbox } from '../../world/mpi/inbox.ts'
import { createOrders } from '../../world/mpi/orders.ts'
import { OrderRing } from '../../world/mpi/ring.ts'
import { createRuntime } from '../cpu-runtime.ts'
import type { Session } from '../onnxruntime/session.ts'
import type { Crew } from './crew.ts'
import { StagedExecutable, type StagedParts } from './executable.ts'

const WIDTH = 8
const ROWS = 1000

describe('staged programs', () => {
  let runtime: Runtime
  beforeAll(async () => {
    runtime = await createRuntime({ threads: 3 })
  })
  afterAll(() => runtime.close())

  const compile = (build: () => Program, on = runtime): Promise<Executable> =>
    on.compile(withKernels(on.kernels, build))

  /** Rows of x by index. An index out of range makes a task of the kernel fail. */
  const rows = (): Program => {
    const index = input('index', 'int32', [ROWS])
    const plan = { tokenOfSlot: index, assignmentOfSlot: index, slotOfAssignment: index }
    const y = scope('layers.4.moe', () => dispatch(multiply(input('x', 'float32', [5, WIDTH]), 2), plan))
    return { outputs: { y } }
  }
  const bindRows = (executable: Executable, index: (i: number) => number, value: number) => {
    const buffers = {
      x: new Float32Array(5 * WIDTH).fill(value),
      index: Int32Array.from({ length: ROWS }, (_, i) => index(i)),
      y: new Float32Array(ROWS * WIDTH),
    }
    return { ...buffers, binding: executable.bind(buffers) }
  }

  test('a failing kernel is reported by op and layer, whenever it fails, and the next run succeeds', async () => {
    const executable = await compile(rows)
    const { binding, index, y } = bindRows(executable, () => 0, 1)
    for (let i = 0; i < 100; i++) {
      // The kernel fails in all tasks, or in one: at the beginning, in the middle, at the end.
      index.fill(0)
      if (i % 4 === 0) index.fill(5)
      else index[(i % 4) * 300] = -1
      await expect(binding.run()).rejects.toThrow(/^failed to run in dispatch of layers\.4\.moe: /)
      index.fill(4)
      y.fill(0)
      await binding.run()
      expect(y.every((value) => value === 2)).toBe(true)
    }
    executable.release()
  })

  test('kernels of one task, which one thread runs in a row, fail and succeed like others', async () => {
    const executable = await compile(() => {
      const [x, index] = [input('x', 'float32', [5, WIDTH]), input('index', 'int32', [ROWS])]
      const row = (name: string, layer: string) =>
        scope(layer, () => scaledRow(tableRows(x, input(name, 'int32', [1])), 3))
      const plan = { tokenOfSlot: index, assignmentOfSlot: index, slotOfAssignment: index }
      return { outputs: { first: row('i', 'layers.1'), second: row('j', 'layers.2'), y: dispatch(x, plan) } }
    })
    const buffers = {
      x: Float32Array.from({ length: 5 * WIDTH }, (_, at) => Math.floor(at / WIDTH)),
      index: new Int32Array(ROWS).fill(4),
      i: new Int32Array(1),
      j: new Int32Array(1),
      y: new Float32Array(ROWS * WIDTH),
      first: new Float32Array(WIDTH),
      second: new Float32Array(WIDTH),
    }
    const binding = executable.bind(buffers)
    for (let round = 0; round < 50; round++) {
      buffers.i[0] = round % 2 === 0 ? -1 : 1
      buffers.j[0] = 5
      const failing = round % 2 === 0 ? /in table-rows of layers\.1: / : /in table-rows of layers\.2: /
      await expect(binding.run()).rejects.toThrow(failing)
      buffers.i[0] = round % 5
      buffers.j[0] = (round + 1) % 5
      for (const result of [buffers.y, buffers.first, buffers.second]) result.fill(0)
      await binding.run()
      expect(buffers.y.every((value) => value === 4)).toBe(true)
      expect(buffers.first.every((value) => value === 3 * (round % 5))).toBe(true)
      expect(buffers.second.every((value) => value === 3 * ((round + 1) % 5))).toBe(true)
    }
    executable.release()
  })

  test('an early exchange is posted when its outputs are complete, unless the last step completes them', async () => {
    const orders = createOrders()
    const inbox = new Inbox(orders)
    const own = await createRuntime({ threads: 3, group: { first: 0, rank: 0, size: 1, orders } })
    const executable = await compile(() => {
      const [x, w] = [input('x', 'float32', [ROWS, WIDTH]), input('w', 'float32', [WIDTH, WIDTH])]
      const first = matmul(x, w)
      return { outputs: { first, second: matmul(first, w), double: multiply(x, 2) } }
    }, own)
    const rowsOf = (value: number) => new Float32Array(ROWS * WIDTH).fill(value)
    const w = new Float32Array(WIDTH * WIDTH)
    const buffers = { x: rowsOf(3), w, first: rowsOf(0), second: rowsOf(0), double: rowsOf(0) }
    const exchange = (name: keyof typeof buffers, peer: number): EarlyExchange => {
      const array = buffers[name] as Float32Array
      return { after: [name], channel: 3, transfers: [{ peer, direction: 'send', array }] }
    }
    const early = [exchange('second', 1), exchange('first', 2), exchange('double', 3)]
    const binding = executable.bind(buffers, undefined, { early })
    expect((await binding.run()).tickets).toEqual([NOT_POSTED, NOT_POSTED, NOT_POSTED])
    expect(inbox.take()).toBeUndefined()
    for (const ticket of [0, 2]) {
      expect((await binding.run({ early: true })).tickets).toEqual([ticket + 1, ticket, NOT_POSTED])
      const [first, second] = [inbox.take(), inbox.take()]
      expect([first, second].map((order) => order?.transfers[0]?.peer)).toEqual([2, 1])
      expect(first).toEqual({
        ticket,
        channel: 3,
        reports: true,
        transfers: [{ peer: 2, direction: 'send', address: Number(addressOf(buffers.first)), bytes: 4 * ROWS * WIDTH }],
      })
      expect(inbox.take()).toBeUndefined()
    }
    await own.close()
  })

  test('a run waits for arriving inputs before it first reads them, not earlier', async () => {
    const orders = createOrders()
    const inbox = new Inbox(orders)
    const own = await createRuntime({ threads: 3, group: { first: 0, rank: 0, size: 1, orders } })
    const executable = await compile(() => {
      const [x, w] = [input('x', 'float32', [ROWS, WIDTH]), input('w', 'float32', [WIDTH, WIDTH])]
      const v = input('v', 'float32', [WIDTH, WIDTH])
      return { outputs: { first: matmul(x, w), second: matmul(matmul(x, w), v) } }
    }, own)
    const identity = (scale: number) =>
      Float32Array.from({ length: WIDTH ** 2 }, (_, i) => (i % (WIDTH + 1) ? 0 : scale))
    const shared = (values: Float32Array) => {
      const array = new Float32Array(new SharedArrayBuffer(values.byteLength))
      array.set(values)
      return array
    }
    const buffers = {
      x: shared(new Float32Array(ROWS * WIDTH).fill(1)),
      w: shared(identity(2)),
      v: shared(identity(0)),
      first: shared(new Float32Array(ROWS * WIDTH)),
      second: shared(new Float32Array(ROWS * WIDTH)),
    }
    const binding = executable.bind(buffers, undefined, { arriving: [['w'], ['v']] })
    expect(binding.waits).toBe(true)
    const ticket = new OrderRing(orders).post(1, [])
    const running = binding.run({ arriving: [NOT_POSTED, ticket] })
    while (!buffers.first.every((value) => value === 2)) await setTimeout(1)
    await setTimeout(20)
    expect(buffers.second.every((value) => value === 0)).toBe(true)
    buffers.v.set(identity(5))
    expect(inbox.take()?.ticket).toBe(ticket)
    inbox.finish(ticket)
    const { waitedMs } = await running
    expect(waitedMs).toBeGreaterThan(0)
    expect(buffers.second.every((value) => value === 10)).toBe(true)
    // A run does not wait for exchanges that are done or were not posted. If it did, this run would not end.
    await binding.run({ arriving: [ticket, NOT_POSTED] })
    expect((await binding.run()).waitedMs).toBe(0)
    await own.close()
  })

  test('a run that waits for inputs fails if the ranks fail', async () => {
    const orders = createOrders()
    const own = await createRuntime({ threads: 2, group: { first: 0, rank: 0, size: 1, orders } })
    const executable = await compile(() => {
      const [x, w] = [input('x', 'float32', [ROWS, WIDTH]), input('w', 'float32', [WIDTH, WIDTH])]
      return { outputs: { y: matmul(x, w) } }
    }, own)
    const floats = (size: number) => new Float32Array(size)
    const buffers = { x: floats(ROWS * WIDTH), w: floats(WIDTH ** 2), y: floats(ROWS * WIDTH) }
    const binding = executable.bind(buffers, undefined, { arriving: [['w']] })
    const running = binding.run({ arriving: [new OrderRing(orders).post(1, [])] })
    await setTimeout(20)
    new Inbox(orders).fail('rank 1 is gone')
    await expect(running).rejects.toThrow('rank 1 is gone')
    await own.close()
  })

  test('a run queued next to a failing one succeeds', async () => {
    const executable = await compile(rows)
    const bad = bindRows(executable, () => 5, 1)
    const good = bindRows(executable, (i) => i % 5, 3)
    for (let i = 0; i < 100; i++) {
      good.y.fill(0)
      const results = await Promise.allSettled([
        bad.binding.run(),
        good.binding.run(),
        bad.binding.run().catch(() => 0),
      ])
      expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled'])
      expect(good.y.every((value) => value === 6)).toBe(true)
    }
    executable.release()
  })

  test('a failing ONNX stage is reported by op and layer, and the next run succeeds', async () => {
    const executable = await compile(() => {
      const x = input('x', 'float32', [3, WIDTH])
      const chosen = scope('layers.2.router', () => gather(x, input('index', 'int32', [2])))
      return { outputs: { y: rmsNorm(chosen, input('w', 'float32', [WIDTH]), 1e-5) } }
    })
    const index = new Int32Array(2)
    const y = new Float32Array(2 * WIDTH)
    const [x, w] = [new Float32Array(3 * WIDTH).fill(7), new Float32Array(WIDTH).fill(1)]
    const binding = executable.bind({ x, w, index, y })
    for (let i = 0; i < 20; i++) {
      index.fill(3)
      await expect(binding.run()).rejects.toThrow(/^failed to run in gather of layers\.2\.router/)
      index.fill(2)
      y.fill(0)
      await binding.run()
      for (const value of y) expect(value).toBeCloseTo(1, 5)
    }
    executable.release()
  })

  /** y = 3·(norm(2x)·b)·b, in which kernels and ONNX stages take turns. */
  const mixed = (size: number) => (): Program => {
    const x = input('x', 'float32', [size, size])
    const b = input('b', 'float32', [size, size])
    const normed = rmsNorm(multiply(x, 2), input('w', 'float32', [size]), 1e-5)
    return { outputs: { y: matmul(multiply(matmul(normed, b), 3), b) } }
  }
  const bindMixed = (executable: Executable, size: number, value: number) => {
    const square = (v: number) => new Float32Array(size * size).fill(v)
    const y = square(0)
    // Each row of x is constant, so its norm is all ones; b is all `value`.
    const binding = executable.bind({ x: square(5), b: square(value), w: new Float32Array(size).fill(1), y })
    return { y, binding, expected: 3 * (size * value) ** 2 }
  }

  test('concurrent runs do not interfere, in one memory and next to a program without kernels', async () => {
    const plain = await runtime.compile({ outputs: { y: sum(input('x', 'float32', [100])) } })
    const total = new Float32Array(1)
    const alone = plain.bind({ x: new Float32Array(100).fill(1), y: total })
    const sizes = [3, 40, 17, 64]
    const executables = await Promise.all(sizes.map((size) => compile(mixed(size))))
    const runs = executables.flatMap((executable, i) =>
      [1, 2].map((value) => bindMixed(executable, sizes[i] as number, value)),
    )
    for (let round = 0; round < 15; round++) {
      for (const { y } of runs) y.fill(0)
      await Promise.all([...runs.map(({ binding }) => binding.run()), alone.run()])
      for (const { y, expected } of runs) for (const value of y) expect(value / expected).toBeCloseTo(1, 4)
      expect(total[0]).toBe(100)
    }
    for (const executable of [...executables, plain]) executable.release()
  })

  test('a program that needs more memory does not affect programs bound before', async () => {
    const own = await createRuntime({ threads: 2 })
    const small = bindMixed(await compile(mixed(4), own), 4, 1)
    await small.binding.run()
    const large = bindMixed(await compile(mixed(300), own), 300, 1)
    await Promise.all([large.binding.run(), small.binding.run()])
    expect(large.y[0]).toBeCloseTo(large.expected, -2)
    expect(small.y[0]).toBeCloseTo(small.expected, 2)
    await own.close()
  })

  test('the first program of a runtime may need no memory', async () => {
    const own = await createRuntime({ threads: 2 })
    const executable = await compile(
      () => ({ outputs: { y: matmul(input('a', 'float32', [1, 2]), input('b', 'float32', [2, 1])) } }),
      own,
    )
    const y = new Float32Array(1)
    await executable.bind({ a: new Float32Array([2, 3]), b: new Float32Array([5, 7]), y }).run()
    expect(y[0]).toBe(31)
    await own.close()
  })

  test('a running binding refuses to run again, and a released one refuses to run', async () => {
    const executable = await compile(mixed(8))
    const { binding, y, expected } = bindMixed(executable, 8, 1)
    const run = binding.run()
    await expect(binding.run()).rejects.toThrow(/already running/)
    executable.release()
    binding.release()
    await run
    expect(y[0]).toBeCloseTo(expected, 2)
    await expect(binding.run()).rejects.toThrow(/released/)
    expect(() => executable.bind({})).toThrow(/released/)
  })

  test('closing waits for runs, including queued ones, and can be repeated', async () => {
    const own = await createRuntime({ threads: 2 })
    const executable = await compile(mixed(64), own)
    const all = [1, 2, 3].map((value) => bindMixed(executable, 64, value))
    const runs = all.map(({ binding }) => binding.run())
    const late = compile(mixed(4), own)
    await Promise.all([own.close(), own.close()])
    await Promise.all(runs)
    for (const { y, expected } of all) expect((y.at(-1) as number) / expected).toBeCloseTo(1, 4)
    expect((await late).release()).toBeUndefined()
    await expect(compile(mixed(4), own)).rejects.toThrow(/closed/)
  })

  test('the JavaScript thread stays free during a run', async () => {
    const executable = await compile(mixed(512))
    const { binding } = bindMixed(executable, 512, 1)
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    for (let i = 0; i < 5; i++) await binding.run()
    clearInterval(timer)
    expect(turns).toBeGreaterThan(0)
    executable.release()
  })

  test('a thousand programs compiled, bound, run and released do not leak memory', async () => {
    const own = await createRuntime({ threads: 2 })
    const cycle = async (i: number) => {
      const size = 64 + ((i * 37) % 16)
      const executable = await compile(() => {
        const x = input('x', 'float32', [size, size])
        return { outputs: { y: multiply(matmul(x, x), 2) } }
      }, own)
      const square = () => new Float32Array(size * size)
      await executable.bind({ x: square(), y: square() }).run()
      executable.release()
    }
    for (let i = 0; i < 300; i++) await cycle(i)
    // Measured growth: 20 MiB, also after a long warm-up.
    const grown = await leastGrowth(async () => {
      for (let i = 0; i < 700; i++) await cycle(i)
    }, 40)
    await own.close()
    expect(grown).toBeLessThan(40)
  }, 60_000)
})

describe('compiling', () => {
  const program = (stages: number): Program => {
    let y: Tensor = input('x', 'float32', [2, WIDTH])
    for (let i = 0; i < stages; i++)
      y = multiply(rmsNorm(multiply(y, i + 2), input('w', 'float32', [WIDTH]), 1e-5), i + 5)
    return { outputs: { y } }
  }
  const parts = (compile: (at: number) => Session): { parts: StagedParts; freed: () => number } => {
    let [at, freed] = [0, 0]
    return {
      freed: () => freed,
      parts: {
        crew: {} as Crew,
        threads: 1,
        profile: false,
        library: 'oneDNN',
        exchanges: false,
        compile: async () => compile(at++),
        memory: createArena,
        isOutgrown: () => false,
        explain: () => new RuntimeError('failed'),
        onFreed: () => freed++,
      },
    }
  }
  const model = () =>
    cut(withKernels({ names: new Set(['rms-norm']), tile: 1, threads: 1, parts: 16 }, () => program(1)))

  test('releases earlier sessions when a later one fails', async () => {
    const released: number[] = []
    const { parts: fake } = parts((at) => {
      if (at === 1) throw new RuntimeError('internal: invalid graph')
      return { release: () => released.push(at) } as unknown as Session
    })
    await expect(StagedExecutable.compile(fake, model())).rejects.toThrow(/invalid graph/)
    expect(released).toEqual([0])
  })

  test('refuses a program that does not fit into one memory, with advice, and releases the sessions', async () => {
    const released: number[] = []
    const { parts: fake } = parts((at) => ({ release: () => released.push(at) }) as unknown as Session)
    const values = model().values.map((value) => ({ ...value, size: 2 ** 29 }))
    await expect(StagedExecutable.compile(fake, { ...model(), values })).rejects.toThrow(
      /^out of memory: .* GiB \(at most 4; use a smaller train\.batch or more train\.microBatches\)/,
    )
    expect(released.length).toBeGreaterThan(0)
  })
})
