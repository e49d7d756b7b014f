/**
 * The experts that exported files choose, by programs that share no code with the model that was exported: PyTorch runs
 * the Python file of an `hf` folder, ONNX Runtime runs the graph with the choices of its routers as further outputs, and
 * plain loops in float64 compute a GGUF file by the rules of llama.cpp.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import protobuf from 'protobufjs'
import { headWidthOf, type ModelConfig } from '../../src/core/model/config.ts'
import { message, messageField, textField } from '../../src/core/text/protobuf.ts'
import { pythonWithTorch } from '../../src/use/interchange/export/hf/python.ts'
import { cacheNames } from '../../src/use/interchange/export/onnx/attention.ts'
import { ggufLogits, OpenGguf } from '../support/gguf-loops.ts'

/** Experts [T, K] of each router of a window of tokens, in the order of computation. */
export type WindowRoutes = readonly (readonly (readonly number[])[])[]

export interface ExportedModel {
  readonly folder: string
  readonly model: ModelConfig
}

/** The routes of each export and window; null if the program is not installed or cannot read the files. */
export type RoutesOfExports = (
  exports: readonly ExportedModel[],
  windows: readonly Int32Array[],
) => Promise<(WindowRoutes[] | null)[]>

const python = `
import importlib.util, json, sys
import torch
torch.set_grad_enabled(False)
folders, windows = json.load(sys.stdin)
for folder in folders:
    spec = importlib.util.spec_from_file_location("modeling_choir", folder + "/modeling_choir.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["modeling_choir"] = module
    spec.loader.exec_module(module)
    model = module.load(folder)
    chosen = []
    for part in model.modules():
        if isinstance(part, module.Router):
            part.register_forward_hook(lambda part, inputs, outputs: chosen.append(outputs[0].tolist()))
    found = []
    for tokens in windows:
        chosen.clear()
        model(torch.tensor([tokens]))
        found.append(list(chosen))
    print(json.dumps(found))
`

/** The routes that modeling_choir.py computes in PyTorch; null for a folder of an architecture that only transformers reads. */
export const hfRoutes: RoutesOfExports = async (exports, windows) => {
  const folders = exports.map(({ folder }) => folder).filter((folder) => existsSync(join(folder, 'modeling_choir.py')))
  const command = folders.length > 0 ? await pythonWithTorch() : null
  if (!command) return exports.map(() => null)
  const output = await new Promise<string>((resolve, reject) => {
    const child = execFile(command, ['-c', python], { maxBuffer: 2 ** 30 }, (error, stdout) =>
      error ? reject(error) : resolve(stdout),
    )
    child.stdin?.end(JSON.stringify([folders, windows.map((window) => [...window])]))
  })
  const lines = output.trim().split('\n')
  return exports.map(({ folder }) => {
    const line = lines[folders.indexOf(folder)]
    return line === undefined ? null : (JSON.parse(line) as WindowRoutes[])
  })
}

/** Computes one export after the other. */
const inTurn =
  (routes: (one: ExportedModel, windows: readonly Int32Array[]) => Promise<WindowRoutes[]>): RoutesOfExports =>
  async (exports, windows) => {
    const found: WindowRoutes[][] = []
    for (const one of exports) found.push(await routes(one, windows))
    return found
  }

/** The routes that ONNX Runtime computes, with a copy of the graph that also returns the choices. */
export const onnxRoutes = inTurn(async ({ folder, model }, windows) => {
  const { path, names } = await withChoices(join(folder, 'onnx', 'model.onnx'))
  const session = await InferenceSession.create(path, { executionProviders: ['cpu'] })
  try {
    const empty = new Tensor('float32', new Float32Array(), [
      1,
      model.keyValueHeads ?? model.heads,
      0,
      headWidthOf(model),
    ])
    const cache = Array.from({ length: model.layers }, (_, layer) => [
      [cacheNames(layer, 'key').past, empty],
      [cacheNames(layer, 'value').past, empty],
    ]).flat()
    const found: WindowRoutes[] = []
    for (const tokens of windows) {
      const row = (numbers: ArrayLike<number>) =>
        new Tensor('int64', BigInt64Array.from(Array.from(numbers), BigInt), [1, numbers.length])
      const feeds = {
        input_ids: row(tokens),
        position_ids: row([...tokens.keys()]),
        attention_mask: row(tokens.map(() => 1)),
        ...Object.fromEntries(cache),
      }
      const results = await session.run(feeds, names)
      found.push(
        names.map((name) => {
          const experts = Array.from((results[name] as Tensor).data as BigInt64Array, Number)
          const choices = experts.length / tokens.length
          return Array.from(tokens, (_, t) => experts.slice(t * choices, (t + 1) * choices))
        }),
      )
    }
    return found
  } finally {
    await session.release()
  }
})

interface Node {
  readonly input: readonly string[]
  readonly output: readonly string[]
  readonly opType: string
}

const modelProto = protobuf
  .parse(
    `syntax = "proto2";
    message NodeProto { repeated string input = 1; repeated string output = 2; optional string op_type = 4; }
    message GraphProto { repeated NodeProto node = 1; }
    message ModelProto { optional GraphProto graph = 7; }`,
  )
  .root.lookupType('ModelProto')

/**
 * Copies a graph, and makes the experts of each mixture an output of the copy. A mixture sorts its choices by expert: a
 * TopK whose number of results is the shape of what it sorts.
 */
async function withChoices(path: string): Promise<{ path: string; names: string[] }> {
  const bytes = await readFile(path)
  const { graph } = modelProto.toObject(modelProto.decode(bytes), { arrays: true }) as { graph: { node: Node[] } }
  const shapes = new Map(
    graph.node.filter(({ opType }) => opType === 'Shape').map(({ input, output }) => [output[0], input[0]]),
  )
  const names = graph.node
    .filter(({ opType, input }) => opType === 'TopK' && input[0] !== undefined && shapes.get(input[1]) === input[0])
    .map(({ input }) => input[0] as string)
  // Protocol Buffers join the lists of a message that occurs twice, so these outputs come after those of the graph.
  const outputs = message(messageField(7, ...names.map((name) => messageField(12, textField(1, name)))))
  // Weights in a file of their own are found beside the graph.
  const copy = join(dirname(path), 'model-with-choices.onnx')
  await writeFile(copy, Buffer.concat([bytes, outputs]))
  return { path: copy, names }
}

/** The routes of a GGUF file that plain loops compute. */
export const ggufRoutes = inTurn(async ({ folder }, windows) => {
  const file = await OpenGguf.open(join(folder, 'model.gguf'))
  try {
    const found: WindowRoutes[] = []
    for (const tokens of windows) {
      const routers: (readonly (readonly number[])[])[] = []
      await ggufLogits(file, tokens, (chosen) => routers.push(chosen))
      found.push(routers)
    }
    return found
  } finally {
    await file.close()
  }
})

/** Share of the tokens, by router, whose experts are the same in any order. */
export function sameRoutes(first: readonly WindowRoutes[], second: readonly WindowRoutes[]): number[] {
  const routers = first[0]?.length ?? 0
  if (second.length !== first.length || second.some((window) => window.length !== routers))
    throw new Error(`internal: the export has other windows or routers than ${first.length} and ${routers}`)
  return Array.from({ length: routers }, (_, r) => {
    let [same, tokens] = [0, 0]
    for (const [w, window] of first.entries())
      for (const [t, experts] of (window[r] ?? []).entries()) {
        const others = second[w]?.[r]?.[t]
        if (others?.length !== experts.length)
          throw new Error(`internal: router ${r} has ${experts.length} choices and ${others?.length} in the export`)
        tokens++
        if (experts.every((expert) => others.includes(expert))) same++
      }
    return same / tokens
  })
}
