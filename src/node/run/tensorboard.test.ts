import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import protobuf from 'protobufjs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { TrainRecord } from '../../train/step/metrics/records.ts'
import { crc32c, RunEvents } from './tensorboard.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-events-'))
})
afterEach(() => rm(folder, { recursive: true }))

test('CRC-32C gives the published values', () => {
  // RFC 3720, appendix B.4, and the check value of the CRC catalogue.
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa)
  expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8ab43)
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e)
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => 31 - i))).toBe(0x113fdb5c)
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
})

/** The parts of TensorFlow's event.proto and summary.proto that are read here, for an independent decoder. */
const { root } = protobuf.parse(`syntax = "proto3";
  message Event {
    double wall_time = 1; int64 step = 2;
    oneof what { string file_version = 3; Summary summary = 5; SessionLog session_log = 7; }
  }
  message SessionLog { int32 status = 1; }
  message SummaryMetadata { string summary_description = 3; }
  message Summary {
    message Value { string tag = 1; float simple_value = 2; SummaryMetadata metadata = 9; }
    repeated Value value = 1;
  }`)

/** CRC-32C bit by bit, most significant bit of the polynomial first on reversed bytes. */
function slowCrc(bytes: Uint8Array): bigint {
  const reverse = (value: bigint, bits: number) => {
    let result = 0n
    for (let i = 0; i < bits; i++) result |= ((value >> BigInt(i)) & 1n) << BigInt(bits - 1 - i)
    return result
  }
  let crc = 0xffffffffn
  for (const byte of bytes) {
    crc ^= reverse(BigInt(byte), 8) << 24n
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x80000000n ? ((crc << 1n) ^ 0x1edc6f41n) & 0xffffffffn : crc << 1n
  }
  return reverse(crc ^ 0xffffffffn, 32)
}

function checkMasked(stored: number, bytes: Uint8Array): void {
  const rotated = (BigInt(stored) - 0xa282ead8n) & 0xffffffffn
  expect(((rotated >> 17n) | (rotated << 15n)) & 0xffffffffn).toBe(slowCrc(bytes))
}

async function readEvents(name: string) {
  const bytes = await readFile(join(folder, name))
  const events: Record<string, unknown>[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at))
    checkMasked(bytes.readUInt32LE(at + 8), bytes.subarray(at, at + 8))
    const data = bytes.subarray(at + 12, at + 12 + length)
    checkMasked(bytes.readUInt32LE(at + 12 + length), data)
    const type = root.lookupType('Event')
    events.push(type.toObject(type.decode(data), { longs: Number, defaults: false }))
    at += 16 + length
  }
  return events
}

const describedBy = (start: string) => ({ summaryDescription: expect.stringMatching(`^${start}`) })

test('an independent decoder reads the version record and then the scalars', async () => {
  const events = await RunEvents.open(folder)
  const record = (step: number, fields: object, time: number) =>
    events.record('train', step, { step, ...fields } as unknown as TrainRecord, time)
  record(1, { loss: 3.25, load_cv: 0.5 }, 1700000000.125)
  record(2 ** 33 + 300, { loss: Number.NaN, own: 1 }, 1700000001)
  await events.close()
  const [name, ...others] = await readdir(folder)
  expect(others).toEqual([])
  expect(name).toMatch(/^events\.out\.tfevents\.\d{10}\.[\w.-]+$/)
  const [version, ...written] = await readEvents(name as string)
  expect(version).toMatchObject({ fileVersion: 'brain.Event:2' })
  // The decoder leaves out numbers that are 0.
  expect(version).not.toHaveProperty('step')
  expect(written).toEqual([
    {
      wallTime: 1700000000.125,
      step: 1,
      summary: {
        value: [
          // A metric is described once.
          { tag: 'train/loss', simpleValue: 3.25, metadata: describedBy('Training loss: The mean cross-entropy') },
          { tag: 'routing/load_cv', simpleValue: 0.5, metadata: describedBy('Load imbalance, c_v: The standard') },
        ],
      },
    },
    {
      wallTime: 1700000001,
      step: 2 ** 33 + 300,
      summary: {
        value: [
          { tag: 'train/loss', simpleValue: Number.NaN },
          { tag: 'train/own', simpleValue: 1 },
        ],
      },
    },
  ])
})

test('a resumed run starts another file that discards the steps after its checkpoint', async () => {
  const first = await RunEvents.open(folder)
  await first.close()
  const second = await RunEvents.open(folder, 500)
  await second.close()
  const names = (await readdir(folder)).sort()
  expect(names).toHaveLength(2)
  const events = await readEvents(names[1] as string)
  expect(events[1]).toMatchObject({ step: 501, sessionLog: { status: 1 } })
})
