/**
 * Exported folders for transformers have the architecture that the model is. Read back, they give Choir's logits: by
 * the path of import, or by the folder's own Python file in PyTorch.
 *
 * @slow
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { createRuntime } from '../../../../engine/cpu/cpu-runtime.ts'
import { temporaryFolder } from '../../../../node/data/testing/temporary-folder.ts'
import { largestDifference, ownLogits } from '../logits.ts'
import { cases, type Settings } from '../testing/cases.ts'
import { randomModel, tokensOf } from '../testing/random-model.ts'
import { writtenExport } from '../testing/written.ts'
import { hfFormat } from './format.ts'
import { pythonWithTorch } from './python.ts'

const { make } = temporaryFolder()
const runtime = await createRuntime({ threads: 1 })
afterAll(() => runtime.close())

const llama: Settings = { activation: 'swiglu', sequence: 16, embeddingScale: 1, moe: null }
const sparse = { experts: 6, hidden: 5, k: 2, capacity: 'none' } as const
const withExperts = (moe: Settings['moe'], settings: Settings = {}): Settings => ({ ...llama, ...settings, moe })

/** Models, each with its `model_type` and the changes that its export needs. */
const known: Record<string, { is: string; settings: Settings; changes?: RegExp }> = {
  'like Llama': { is: 'llama', settings: { ...llama, keyValueHeads: 2 } },
  'norms of heads, with constants': {
    is: 'qwen3',
    settings: {
      ...llama,
      queryKeyNorm: 'head',
      embeddingScale: 'third-width',
      headScale: 0.5,
      residualScale: 0.3,
      attentionScale: 0.2,
    },
    changes: /embeddingScale 5.333, headScale 0.5, residualScale 0.3, attentionScale 0.4/,
  },
  'biases of queries, keys and values, tied, with constants': {
    is: 'qwen2',
    settings: { ...llama, attentionBias: 'qkv', tied: true, embeddingScale: 3, headScale: 0.5, attentionScale: 0.2 },
    changes: /embeddingScale 3, headScale 0.5, attentionScale 0.4/,
  },
  'a window in every layer': { is: 'mistral', settings: { ...llama, window: 4 } },
  'biases of queries, keys and values': { is: 'qwen2', settings: { ...llama, attentionBias: 'qkv' } },
  'norms of heads': { is: 'qwen3', settings: { ...llama, queryKeyNorm: 'head', headWidth: 6 } },
  'constants of Granite': {
    is: 'granite',
    settings: { ...llama, attentionScale: 0.3, residualScale: 0.4, headScale: 0.25, embeddingScale: 2 },
    changes: /^(?!.*folded)/,
  },
  'gates that sum to 1': { is: 'mixtral', settings: withExperts({ ...sparse, softmax: 'after' }) },
  'top-1 with norms over width': {
    is: 'olmoe',
    settings: withExperts({ ...sparse, k: 1, router: 'switch' }, { queryKeyNorm: 'width' }),
  },
  'gates of a sinkhorn router, with norms of heads': {
    is: 'qwen3_moe',
    settings: withExperts({ ...sparse, router: 'sinkhorn', every: 2 }, { queryKeyNorm: 'head' }),
  },
  'a gated shared expert': {
    is: 'qwen2_moe',
    settings: withExperts({ ...sparse, sharedHidden: 7, sharedGate: true }, { attentionBias: 'qkv' }),
  },
  'a shared expert without a gate': {
    is: 'qwen2_moe',
    settings: withExperts({ ...sparse, sharedHidden: 7 }),
    changes: /gate of 1.2/,
  },
  'gates that do not sum to 1': {
    is: 'qwen2_moe',
    settings: withExperts({ ...sparse, routedScale: 1.5 }),
    changes: /routedScale 1.5; a shared expert of width 32 added, of zeros/,
  },
  'constants of Granite, with experts': {
    is: 'granitemoe',
    settings: withExperts(
      { ...sparse, renormalize: true },
      { residualScale: 0.4, attentionScale: 0.3, headScale: 0.25 },
    ),
    changes: /^(?!.*folded)/,
  },
  'biases of a sigmoid router': {
    is: 'dots1',
    settings: withExperts(
      { ...sparse, router: 'bias', scores: 'sigmoid', renormalize: true, routedScale: 2.5, sharedHidden: 5 },
      { queryKeyNorm: 'head' },
    ),
  },
}

test('types of GGUF are refused before anything is written', () => {
  const { config } = randomModel(5, {})
  for (const dtype of ['q8_0', 'q4_0'] as const)
    expect(() => hfFormat.check(config, dtype)).toThrow(
      new RegExp(
        `^invalid dtype: "${dtype}" \\(expected float32, bf16 or f16 with .*hf.*; ${dtype} is a type of .*gguf`,
      ),
    )
  hfFormat.check(config, 'bf16')
})

describe('a known architecture', () => {
  test.each(Object.entries(known))('holds the model with the same logits: %s', async (_, { is, settings, changes }) => {
    const model = randomModel(5, settings)
    const folder = make()
    const written = await writtenExport(hfFormat, model, { runtime, folder })
    expect(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')).model_type).toBe(is)
    if (changes) expect(written.reason).toMatch(changes)
    const tokens = tokensOf(model, 12)
    const read = await written.readBack(folder, tokens)
    if ('missing' in read) throw new Error(read.missing)
    const own = await ownLogits(runtime, model.config, model.store, tokens)
    expect(largestDifference(own, read.logits)).toBeLessThan(1e-4)
  })

  test('is not OLMoE if gates sum to 1, because vLLM and llama.cpp would not divide them', async () => {
    const model = randomModel(5, withExperts({ ...sparse, renormalize: true }, { queryKeyNorm: 'width' }))
    const written = await writtenExport(hfFormat, model, { runtime, folder: make() })
    expect(written.architecture).toContain('modeling_choir.py')
    expect(written.reason).toContain('model.moe.renormalize')
  })
})

const python = await pythonWithTorch()
if (!python) console.info('hf: skipped, no python3 with PyTorch (python3-torch of Debian)')

/** Reads folders, and prints a line of JSON for each: the logits of a text. */
const driver = `
import importlib.util, json, sys
import torch
folders, tokens = json.loads(sys.argv[1]), json.loads(sys.argv[2])
for folder in folders:
    spec = importlib.util.spec_from_file_location("modeling_choir", folder + "/modeling_choir.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with torch.no_grad():
        print(json.dumps(module.load(folder)(torch.tensor([tokens]))[0].tolist()))
`

/** Stands for transformers: the classes that the file takes from it, and the calls of its generation. */
const caller = `
import importlib, json, sys, types
from types import SimpleNamespace
import torch
folder, tokens = sys.argv[1], json.loads(sys.argv[2])

class Model(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
    def post_init(self):
        pass

class Cache:
    def __init__(self):
        self.layers = {}
    def get_seq_length(self):
        return self.layers[0][0].shape[2] if self.layers else 0
    def update(self, key, value, layer):
        if layer in self.layers:
            key, value = (torch.cat(both, 2) for both in zip(self.layers[layer], (key, value)))
        self.layers[layer] = key, value
        return key, value

def module(name, **contents):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(contents)

class Config:
    def __init__(self, **settings):
        self.__dict__.update(settings)

module("transformers", PreTrainedModel=Model, GenerationMixin=object, PretrainedConfig=Config)
module("transformers.cache_utils", DynamicCache=Cache)
module("transformers.modeling_outputs", CausalLMOutputWithPast=lambda **fields: SimpleNamespace(**fields))
module("exported", __path__=[folder])
code = importlib.import_module("exported.modeling_choir")
config = code.ChoirConfig(**json.load(open(folder + "/config.json")))
model = code.ChoirForCausalLM(config)
model.load_state_dict(dict(code.read_safetensors(folder + "/model.safetensors")))
ids = torch.tensor([tokens])
with torch.no_grad():
    cache, cached = None, []
    for begin, end in [(0, 4)] + [(i, i + 1) for i in range(4, len(tokens))]:
        out = model(ids[:, begin:end], attention_mask=torch.ones(1, end), past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        cached += out.logits[0].tolist()
    mask = torch.tensor([[0, 0, 0] + [1] * len(tokens)])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    out = model(torch.tensor([[1, 1, 1] + tokens]), attention_mask=mask, position_ids=positions)
print(json.dumps({"cached": cached, "padded": out.logits[0, 3:].tolist()}))
`

describe.skipIf(!python)('modeling_choir.py in PyTorch', () => {
  test('gives the logits of every model', async () => {
    const folders: string[] = []
    const own: Float32Array[] = []
    const tokens = Int32Array.from({ length: 13 }, (_, i) => (i * 7 + 3) % 23)
    for (const settings of Object.values(cases)) {
      const model = randomModel(7, { sequence: 16, ...settings })
      const folder = make()
      const written = await writtenExport(hfFormat, model, { runtime, folder })
      if (!written.architecture.includes('modeling_choir.py')) continue
      folders.push(folder)
      own.push(await ownLogits(runtime, model.config, model.store, tokens))
    }
    const lines = execFileSync(python as string, ['-c', driver, JSON.stringify(folders), JSON.stringify([...tokens])], {
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
    })
      .trim()
      .split('\n')
    expect(lines.length).toBeGreaterThan(15)
    for (const [i, line] of lines.entries())
      expect(largestDifference(own[i] as Float32Array, (JSON.parse(line) as number[][]).flat())).toBeLessThan(1e-4)
  }, 120_000)

  test('computes the same with a cache and with padding, as transformers calls it', async () => {
    const model = randomModel(7, {
      sequence: 16,
      window: 5,
      keyValueHeads: 2,
      moe: { experts: 4, hidden: 5, k: 1, router: 'prototype', prototypes: 2, attention: 'qkv' },
    })
    const folder = make()
    await writtenExport(hfFormat, model, { runtime, folder })
    const tokens = tokensOf(model, 9)
    const output = execFileSync(python as string, ['-c', caller, folder, JSON.stringify([...tokens])], {
      encoding: 'utf8',
    })
    const { cached, padded } = JSON.parse(output) as Record<'cached' | 'padded', number[][]>
    const own = await ownLogits(runtime, model.config, model.store, tokens)
    expect(largestDifference(own, cached.flat())).toBeLessThan(1e-4)
    expect(largestDifference(own, padded.flat())).toBeLessThan(1e-4)
  }, 60_000)

  test('runs as a program', async () => {
    const model = randomModel(7, {
      sequence: 16,
      moe: { experts: 4, hidden: 5, k: 1, router: 'prototype', prototypes: 2 },
    })
    const folder = make()
    const written = await writtenExport(hfFormat, model, { runtime, folder })
    const read = await written.readBack(folder, tokensOf(model, 5))
    if ('missing' in read) throw new Error(read.missing)
    const own = await ownLogits(runtime, model.config, model.store, tokensOf(model, 5))
    expect(largestDifference(own, read.logits)).toBeLessThan(1e-4)
  }, 60_000)
})
