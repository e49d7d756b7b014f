import { expect, test } from 'vitest'
import { createTraffic, readTraffic, TrafficRecorder } from './traffic.ts'

test('a channel counts its bytes by direction, and the time with an open order once', () => {
  const memory = createTraffic()
  const recorder = new TrafficRecorder(memory)
  recorder.begin(4, 1000)
  recorder.begin(4, 1500)
  recorder.begin(9, 1500)
  recorder.add(4, 'send', 10)
  recorder.add(4, 'receive', 2 ** 40)
  recorder.end(4, 2000)
  recorder.add(4, 'send', 5)
  recorder.end(4, 4000)
  recorder.begin(4, 6000)
  recorder.end(4, 6500)
  recorder.end(9, 1750)
  expect(readTraffic(memory)).toEqual([
    { channel: 4, sentBytes: 15, receivedBytes: 2 ** 40, seconds: 3.5 },
    { channel: 9, sentBytes: 0, receivedBytes: 0, seconds: 0.25 },
  ])
})
