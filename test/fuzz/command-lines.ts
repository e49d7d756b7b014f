/** Nonsensical command lines, made of the commands and options that `--help` lists. */
import fc from 'fast-check'
import { main } from '../../src/faces/cli/program/main.ts'
import { fakeIo } from '../../src/faces/cli/testing/fake.ts'
import { anyText } from './values.ts'

interface Flag {
  readonly name: string
  /** Name of its value in the help; null for an option without a value. */
  readonly value: string | null
}

async function help(...args: string[]): Promise<string> {
  const fake = fakeIo()
  await main([...args, '--help'], fake.io)
  return fake.stdout.text
}

/** The options of each command. */
export async function commandFlags(): Promise<ReadonlyMap<string, readonly Flag[]>> {
  const names = [...(await help()).matchAll(/^ {2}(\w+) \[options\]/gm)].map(([, name = '']) => name)
  const flags = await Promise.all(
    names.map(async (name): Promise<[string, Flag[]]> => {
      const listed = (await help(name)).matchAll(/^ {2}(--[\w-]+)(?: <([^>]+)>)?/gm)
      // The option --verbose is left out, since it prints stack traces on purpose.
      const flags = [...listed].filter(([, flag]) => flag !== '--verbose')
      return [name, flags.map(([, flag = '', value = null]) => ({ name: flag, value }))]
    }),
  )
  return new Map(flags)
}

/** Values that some option or argument accepts, so that a command gets past its first mistake. */
const plausible = ['tiny', 'demo', 'm6t', 'h100-8', 'train', 'bf16', 'cpu', '1', '2', '0.5', 'hf', 'routing', 'top-1']
const assignments = ['train.steps=3', 'model.moe=null', 'model.moe={', 'a=1', '=', 'model.layers=1e9', 'plan.zero=7']
/** Paths for options and arguments; commands write nowhere else. */
const paths = ['out', 'out/deeper', 'file.txt', 'folder', '', 'b'.repeat(300), 'wild.yaml']

const textFor = (value: string): fc.Arbitrary<string> => {
  if (/file|dir|folder|run/.test(value)) return fc.constantFrom(...paths)
  if (value.includes('=')) return fc.oneof(fc.constantFrom(...assignments), anyText)
  return fc.oneof(anyText, fc.constantFrom(...plausible))
}

/** @param commands The result of {@link commandFlags}. */
export function anyCommandLine(commands: ReadonlyMap<string, readonly Flag[]>): fc.Arbitrary<string[]> {
  const argument = fc.oneof(fc.constantFrom(...plausible, ...paths), anyText)
  const oneOf = [...commands].map(([name, flags]): fc.Arbitrary<string[]> => {
    const given = fc
      .constantFrom(...flags)
      .chain(({ name, value }) =>
        value === null ? fc.constant<string[]>([name]) : textFor(value).map((text) => [name, text]),
      )
    const more = fc.array(
      fc.oneof({ weight: 3, arbitrary: given }, { weight: 1, arbitrary: argument.map((text): string[] => [text]) }),
      {
        maxLength: 6,
      },
    )
    return fc
      .tuple(fc.boolean(), argument, more)
      .map(([first, positional, rest]): string[] => [name, ...(first ? [positional] : []), ...rest.flat()])
  })
  return fc.oneof(...oneOf)
}
