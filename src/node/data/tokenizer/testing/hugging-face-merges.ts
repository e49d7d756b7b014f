/** Makes merges with Hugging Face's trainer. It runs in a process of its own, because it draws a progress bar. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const program = `
const [library, folder, count] = process.argv.slice(1)
const { BPE, Tokenizer, byteLevelPreTokenizer } = require(library)
for (let i = 0; i < Number(count); i++) {
  const tokenizer = new Tokenizer(BPE.empty())
  tokenizer.setPreTokenizer(byteLevelPreTokenizer(false, true))
  tokenizer.train([folder + '/' + i + '.txt'])
  tokenizer.save(folder + '/' + i + '.json')
}
`

/** The merges learnt from each text, for a vocabulary of at most 30,000 tokens. */
export async function huggingFaceMerges(texts: readonly string[]): Promise<string[][][]> {
  const folder = mkdtempSync(join(tmpdir(), 'choir-merges-'))
  try {
    for (const [i, text] of texts.entries()) writeFileSync(join(folder, `${i}.txt`), `${text}\n`)
    const library = createRequire(import.meta.url).resolve('tokenizers')
    execFileSync(process.execPath, ['--input-type=commonjs', '-e', program, library, folder, String(texts.length)], {
      stdio: 'ignore',
    })
    return texts.map((_, i) => JSON.parse(readFileSync(join(folder, `${i}.json`), 'utf8')).model.merges)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
