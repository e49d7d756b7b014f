import { expect, test } from 'vitest'
import { runStore, type SlotName, type Slots } from './run-store.ts'

/** Slots whose next write stops after some bytes, as if the browser were killed. */
class FailingSlots implements Slots {
  readonly contents = new Map<SlotName, Uint8Array>()
  stopAfter = Number.POSITIVE_INFINITY

  async read(slot: SlotName) {
    return this.contents.get(slot) ?? null
  }

  async write(slot: SlotName, bytes: Uint8Array) {
    this.contents.set(slot, bytes.slice(0, this.stopAfter))
    if (bytes.length > this.stopAfter) throw new Error('killed')
  }

  async clear() {
    this.contents.clear()
  }
}

const run = (...bytes: number[]) => Uint8Array.from(bytes)

test('the last run that was saved is loaded', async () => {
  const slots = new FailingSlots()
  expect(await runStore(slots).load()).toBe(null)
  for (let i = 1; i < 6; i++) {
    await runStore(slots).save(run(i, i))
    expect(await runStore(slots).load()).toEqual(run(i, i))
  }
  await runStore(slots).clear()
  expect(await runStore(slots).load()).toBe(null)
})

test('a write that is cut off at any byte leaves the run that was saved before', async () => {
  for (let bytes = 0; bytes < 52; bytes++) {
    const slots = new FailingSlots()
    await runStore(slots).save(run(1, 2, 3, 4))
    await runStore(slots).save(run(5, 6, 7, 8))
    slots.stopAfter = bytes
    await expect(runStore(slots).save(run(9, 9, 9, 9)), `${bytes} bytes`).rejects.toThrow(
      'cannot store the run: killed',
    )
    expect(await runStore(slots).load(), `${bytes} bytes`).toEqual(run(5, 6, 7, 8))
    slots.stopAfter = Number.POSITIVE_INFINITY
    await runStore(slots).save(run(10))
    expect(await runStore(slots).load()).toEqual(run(10))
  }
})

test('a damaged slot is not loaded', async () => {
  const slots = new FailingSlots()
  await runStore(slots).save(run(1))
  await runStore(slots).save(run(2))
  for (const at of [0, 9, 16, 20]) {
    const bytes = slots.contents.get('b') as Uint8Array
    bytes[at] = (bytes[at] ?? 0) ^ 1
    expect(await runStore(slots).load()).toEqual(run(1))
    bytes[at] = (bytes[at] ?? 0) ^ 1
  }
  expect(await runStore(slots).load()).toEqual(run(2))
})
