/** Compares the tensors in a folder with the tensors of a model. */
import { listWithOr } from '../../core/config/problems.ts'
import { RunError } from '../../core/errors.ts'
import { firstNames } from '../../train/run/checkpoint/read-safetensors.ts'
import type { TheirTensor } from './architectures/contract.ts'
import type { StoredTensors } from './foreign-folder.ts'

/**
 * Constants that older versions of transformers stored, and the divisors of angles in GGUF files: they follow from the
 * configuration.
 */
const constants = /\.(rotary_emb\.inv_freq|masked_bias|attn\.bias)$|^rope_freqs\.weight$/

/**
 * Checks that a folder holds all tensors of a model.
 * @param tied Whether the embedding is the output matrix, so that a stored output matrix is not used.
 * @returns Names of tensors that are left out, since the model does not use them.
 * @throws RunError naming the tensors that are missing, unknown, of another shape, or of a type that is not read
 */
export function matchTensors(
  folder: string,
  expected: readonly TheirTensor[],
  { tensors: stored, types, description }: Pick<StoredTensors, 'tensors' | 'types' | 'description'>,
  tied: boolean,
): string[] {
  const names = new Set(expected.map(({ name }) => name))
  const isIdle = (name: string) => constants.test(name) || (tied && name === 'lm_head.weight')
  const others = [...stored.keys()].filter((name) => !names.has(name))
  const problems = [
    ...problem(
      'lacks',
      expected.filter(({ name }) => !stored.has(name)).map(({ name }) => name),
    ),
    ...problem(
      'holds, without a place in this model,',
      others.filter((name) => !isIdle(name)),
    ),
    ...problem(
      'holds in another shape',
      expected.flatMap(({ name, shape }) => {
        const found = stored.get(name)?.entry.shape
        return found === undefined || String(found) === String(shape)
          ? []
          : [`${name} [${found.join(', ')}] (expected [${shape.join(', ')}])`]
      }),
    ),
    ...problem(
      `holds in a type that is not read (expected ${listWithOr(types)})`,
      expected.flatMap(({ name }) => {
        const dtype = stored.get(name)?.entry.dtype
        return dtype === undefined || types.includes(dtype) ? [] : [`${name} ${dtype}`]
      }),
    ),
  ]
  if (problems.length > 0)
    throw new RunError(
      `the tensors in ${folder} are not those of its ${description}:\n  it ${problems.join('\n  it ')}`,
    )
  return others
}

const problem = (verb: string, names: readonly string[]): string[] =>
  names.length === 0 ? [] : [`${verb} ${firstNames(names)}`]
