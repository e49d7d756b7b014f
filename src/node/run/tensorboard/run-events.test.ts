import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import protobuf from 'protobufjs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { RoutingRecord } from '../../../core/model/routing/statistics.ts'
import type { EvalRecord } from '../../../train/step/metrics/records.ts'
import { loadConfig } from '../load-config.ts'
import { RunEvents } from './run-events.ts'

/**
 * An independent decoder for the parts that are read here of TensorFlow's event.proto, summary.proto, histogram.proto
 * and tensor.proto, of TensorBoard's plugin_data.proto and api.proto, and of struct.proto.
 */
const { root } = protobuf.parse(`syntax = "proto3";
  message Event { double wall_time = 1; int64 step = 2; Summary summary = 5; SessionLog session_log = 7; }
  message SessionLog { int32 status = 1; }
  message Summary {
    message Value {
      string tag = 1; SummaryMetadata metadata = 9;
      oneof value { float simple_value = 2; HistogramProto histo = 5; TensorProto tensor = 8; }
    }
    repeated Value value = 1;
  }
  message SummaryMetadata {
    message PluginData { string plugin_name = 1; bytes content = 2; }
    PluginData plugin_data = 1; int32 data_class = 4;
  }
  message HistogramProto {
    double min = 1; double max = 2; double num = 3; double sum = 4; double sum_squares = 5;
    repeated double bucket_limit = 6 [packed = true]; repeated double bucket = 7 [packed = true];
  }
  message TensorShapeProto { message Dim { int64 size = 1; } repeated Dim dim = 2; }
  message TensorProto { int32 dtype = 1; TensorShapeProto tensor_shape = 2; }
  message HParamsPluginData {
    int32 version = 1;
    oneof data { Experiment experiment = 2; SessionStartInfo session_start_info = 3; SessionEndInfo session_end_info = 4; }
  }
  message Value { oneof kind { double number_value = 2; string string_value = 3; bool bool_value = 4; } }
  message SessionStartInfo { map<string, Value> hparams = 1; double start_time_secs = 5; }
  message SessionEndInfo { int32 status = 1; double end_time_secs = 2; }
  message Experiment { double time_created_secs = 3; repeated HParamInfo hparam_infos = 4; repeated MetricInfo metric_infos = 5; }
  message HParamInfo { string name = 1; int32 type = 4; }
  message MetricName { string group = 1; string tag = 2; }
  message MetricInfo { MetricName name = 1; string display_name = 3; int32 dataset_type = 5; }`)

const decode = (name: string, bytes: Uint8Array): Record<string, unknown> => {
  const type = root.lookupType(name)
  return type.toObject(type.decode(bytes), { longs: Number, defaults: false, arrays: true })
}

interface Value {
  readonly tag: string
  readonly step: number
  readonly simpleValue?: number
  readonly histo?: Record<'min' | 'max' | 'num' | 'sum' | 'sumSquares', number> &
    Record<'bucketLimit' | 'bucket', number[]>
  readonly tensor?: unknown
  readonly metadata?: { readonly pluginData: { pluginName: string; content: Uint8Array }; readonly dataClass: number }
}

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-run-events-'))
})
afterEach(() => rm(folder, { recursive: true }))

async function values(): Promise<Value[]> {
  const found: Value[] = []
  for (const name of (await readdir(folder)).sort()) {
    const bytes = await readFile(join(folder, name))
    for (let at = 0; at < bytes.length; at += 16 + Number(bytes.readBigUInt64LE(at))) {
      const event = decode('Event', bytes.subarray(at + 12, at + 12 + Number(bytes.readBigUInt64LE(at))))
      const { value = [] } = (event.summary ?? {}) as { value?: Value[] }
      found.push(...value.map((each) => ({ ...each, step: (event.step as number | undefined) ?? 0 })))
    }
  }
  return found
}

/** The plugin data of a tag. Asserts that it has the form that the plugin expects. */
async function hparams(tag: string): Promise<Record<string, unknown>> {
  const value = (await values()).findLast((each) => each.tag === tag)
  expect(value?.metadata).toMatchObject({ pluginData: { pluginName: 'hparams' }, dataClass: 2 })
  // The plugin expects a float tensor of shape [0].
  expect(value?.tensor).toEqual({ dtype: 1, tensorShape: { dim: [{}] } })
  return decode('HParamsPluginData', value?.metadata?.pluginData.content ?? new Uint8Array())
}

const evaluation = (step: number) => ({ kind: 'eval', step, tokens: 1, loss: 3.5 }) as EvalRecord

test('the HPARAMS page gets all settings of the run, the held-out loss as a metric, and the end', async () => {
  const config = await loadConfig('tiny', ['model.moe.k=2', 'data.source=[a.txt, b.txt]'])
  const events = await RunEvents.open(folder, config, undefined)
  events.record('eval', 10, evaluation(10))
  await events.flush()
  expect((await values()).map(({ tag }) => tag)).not.toContain('_hparams_/session_end_info')
  events.record('eval', 20, evaluation(20))
  await events.close()

  const start = (await hparams('_hparams_/session_start_info')).sessionStartInfo as { hparams: Record<string, unknown> }
  expect(start.hparams).toMatchObject({
    'model.moe.k': { numberValue: 2 },
    'model.moe.router': { stringValue: 'top-k' },
    'model.tied': { boolValue: false },
    'data.source': { stringValue: '["a.txt","b.txt"]' },
    'model.window': { stringValue: 'none' },
    'train.schedule.learningRate': { numberValue: 3e-3 },
  })
  expect(Object.keys(start.hparams)).not.toContain('data.cache')

  const { hparamInfos, metricInfos } = (await hparams('_hparams_/experiment')).experiment as {
    hparamInfos: { name: string; type: number }[]
    metricInfos: { name: { tag: string } }[]
  }
  const typeOf = (name: string) => hparamInfos.find((info) => info.name === name)?.type
  expect(['model.moe.router', 'model.tied', 'model.moe.k'].map(typeOf)).toEqual([1, 2, 3])
  expect(hparamInfos.map(({ name }) => name).sort()).toEqual(expect.arrayContaining(Object.keys(start.hparams)))
  expect(metricInfos[0]).toEqual({ name: { tag: 'eval/loss' }, displayName: 'held-out loss', datasetType: 2 })
  const tags = (await values()).filter(({ simpleValue }) => simpleValue !== undefined).map(({ tag }) => tag)
  expect(tags).toContain(metricInfos[0]?.name.tag)

  expect((await hparams('_hparams_/session_end_info')).sessionEndInfo).toMatchObject({ status: 1 })
})

test('a dense run lists the settings of experts too, so that TensorBoard shows them for sparse runs beside it', async () => {
  const events = await RunEvents.open(folder, await loadConfig('tiny', ['model.moe=null']), undefined)
  await events.close()
  const { experiment } = (await hparams('_hparams_/experiment')) as { experiment: { hparamInfos: { name: string }[] } }
  expect(experiment.hparamInfos.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['model.moe', 'model.moe.k', 'model.moe.router']),
  )
})

test('a resumed run has its settings in its own file', async () => {
  const events = await RunEvents.open(folder, await loadConfig('tiny', ['train.steps=40']), 20)
  await events.close()
  const start = (await hparams('_hparams_/session_start_info')).sessionStartInfo as { hparams: Record<string, unknown> }
  expect(start.hparams['train.steps']).toEqual({ numberValue: 40 })
  // The settings are at a step that the message about repeated steps does not discard.
  expect((await values()).map(({ step }) => step)).toEqual([20, 20])
})

test.each([
  ['of experts', [10, 30, 20, 20], [0.5, 1.5, 1, 1]],
  ['that are all equal', [7, 7], [1, 1]],
  ['with a dead expert', [0, 12, 0], [0, 3, 0]],
])('the loads %s, divided by their mean, are written as a histogram', async (_, loads, relative) => {
  const events = await RunEvents.open(folder, await loadConfig('tiny', []), undefined)
  events.routing({ step: 5, layer: 1, module: 'ffn', tokens_per_expert: loads } as unknown as RoutingRecord)
  await events.close()
  const value = (await values()).find(({ tag }) => tag === 'expert_load/layer_1_ffn')
  expect(value?.step).toBe(5)
  const { bucket = [], bucketLimit = [], num, min, max, sum, sumSquares } = value?.histo ?? {}
  expect({ num, min, max }).toMatchObject({
    num: loads.length,
    max: Math.max(...relative),
    ...(Math.min(...relative) > 0 && { min: Math.min(...relative) }),
  })
  expect(sum).toBeCloseTo(loads.length, 12)
  expect(sumSquares).toBeCloseTo(
    relative.reduce((all, load) => all + load * load, 0),
    12,
  )
  // Limits rise, the last one is the maximum, and each load is in the first bucket whose limit is not below it.
  expect(bucketLimit).toEqual(bucketLimit.toSorted((a, b) => a - b))
  expect(bucketLimit.at(-1)).toBe(max)
  expect(bucket).toHaveLength(bucketLimit.length)
  const above = (limit: number) => relative.filter((load) => load > limit + 1e-9).length
  for (const [i, limit] of bucketLimit.entries())
    expect(bucket.slice(i + 1).reduce((all, count) => all + count, 0)).toBeGreaterThanOrEqual(above(limit))
  expect(bucket.reduce((all, count) => all + count, 0)).toBe(loads.length)
})
