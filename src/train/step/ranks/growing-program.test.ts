import { expect, test } from 'vitest'
import type { Rooms } from '../../../core/model/expert-rows.ts'
import { type Binding, type Executable, type Runtime, TooManyRows } from '../../../engine/contract/runtime.ts'
import { OutOfMemory } from '../../../engine/contract/runtime-error.ts'
import { GrowingProgram, growthOf } from './growing-program.ts'

/** A program of two layers that stops for want of room, with a byte for each row; at most `memory` bytes. */
function stoppingProgram(arriving: Readonly<Record<string, number>>, memory = 1000, bindable = memory) {
  const calls: string[] = []
  const freed: string[] = []
  const released: string[] = []
  const compile = (rooms: Readonly<Record<string, number>>): Executable => {
    const bytes = Object.values(rooms).reduce((sum, room) => sum + room, 0)
    if (bytes > memory) throw new OutOfMemory(`out of memory: ${bytes} bytes`)
    const name = JSON.stringify(Object.values(rooms))
    const run = async (from: string) => {
      calls.push(`${from}${name}`)
      for (const [layer, rows] of Object.entries(arriving))
        if (rows > (rooms[layer] as number)) throw new TooManyRows(rows, rooms[layer] as number, layer)
      return { tickets: [7], waitedMs: 0 }
    }
    const binding: Partial<Binding> = {
      waits: true,
      enqueue: () => run('begin '),
      run: () => run('begin '),
      continueRun: () => run('continue '),
      release: () => released.push(name),
    }
    const bind = () => {
      if (bytes > bindable) throw new OutOfMemory('out of memory: other programs use it', false)
      return binding as Binding
    }
    return { memoryBytes: bytes, bind, release: () => freed.push(name) } as unknown as Executable
  }
  const roomsOf = (rooms: Rooms) =>
    Object.fromEntries(Object.keys(arriving).map((layer) => [layer, Math.min(90, Math.max(10, rooms.get(layer) ?? 0))]))
  // Programs are only passed on, so the rooms themselves stand for them.
  const runtime = {
    compile: async (rooms: unknown) => compile(rooms as Record<string, number>),
    bytesOf: (rooms: unknown) => Object.values(rooms as Record<string, number>).reduce((sum, room) => sum + room, 0),
  } as unknown as Runtime
  const trace = (rooms: Rooms) => roomsOf(rooms) as never
  const program = new GrowingProgram(runtime, compile(roomsOf(new Map<string, number>())), trace, {}, {})
  return { program, calls, released, freed }
}

test('only the layers that stop the run grow, by half at least, and the run is continued, not repeated', async () => {
  const { program, calls, released } = stoppingProgram({ a: 11, b: 5, c: 70 })
  expect(program.growth).toBeNull()
  expect(await program.enqueue()).toEqual({ tickets: [7], waitedMs: 0 })
  expect(calls).toEqual(['begin [10,10,10]', 'continue [15,10,10]', 'continue [15,10,70]'])
  expect(released).toEqual(['[10,10,10]', '[15,10,10]'])
  expect(program.growth).toEqual({ before: 30, now: 95, most: 270 })
  await program.run()
  expect(calls.slice(3)).toEqual(['begin [15,10,70]'])
})

test('without memory to grow, the error names the layer, the rows, the room and the reason', async () => {
  const { program } = stoppingProgram({ a: 80 }, 60)
  await expect(program.run()).rejects.toThrow(
    'a: the experts of this rank get 80 rows, but there is room for 10; more room is not available: out of memory: 80 bytes',
  )
})

test('a program whose memory other programs use is released, has not grown, and may be tried again', async () => {
  const { program, released, freed } = stoppingProgram({ a: 80 }, 90, 60)
  await expect(program.run()).rejects.toMatchObject({
    message: expect.stringContaining('more room is not available: out of memory: other programs use it'),
    isComputed: false,
  })
  expect(freed).toEqual(['[80]'])
  expect(program.growth).toBeNull()
  program.release()
  expect(freed).toEqual(['[80]', '[10]'])
  expect(released).toEqual(['[10]'])
})

test('programs that run in turn need as much memory as the largest', () => {
  const [small, large] = [
    { memoryBytes: 30, growth: { before: 10, now: 30, most: 70 } },
    { memoryBytes: 50, growth: null },
  ]
  expect(growthOf([large])).toBeNull()
  expect(growthOf([small, large])).toEqual({ before: 50, now: 50, most: 70 })
})
