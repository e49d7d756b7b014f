/** Which text a run reads, how it is tokenized, and which share is held out. */
import { z } from 'zod'
import { encodingName, expectedEncodings } from './encodings.ts'

/** Maximum length of a path, longer than the paths of any system. */
const MAX_PATH = 4096
const path = z.string().max(MAX_PATH)

const tokenizerSchema = z
  .strictObject({
    /** `bpe`: byte-level BPE trained on the corpus. `bytes`: one token a byte. `file`: a tokenizer.json. */
    kind: z.enum(['bpe', 'bytes', 'file']).default('bpe'),
    /** Path of a Hugging Face tokenizer.json, for `file`. */
    path: path.optional(),
  })
  .refine((tokenizer) => (tokenizer.kind === 'file') === (tokenizer.path !== undefined), {
    path: ['path'],
    message: 'is needed for kind "file", and only there',
  })

export const dataSchema = z.strictObject({
  /**
   * A corpus by name (`sotu`, `moby-dick`), or files, folders and globs; `-` is standard input, and `run:text` the file
   * or folder of that path in the run directory.
   */
  source: z.union([path, z.array(path).min(1)]).default('sotu'),
  /** Field or column that holds the text in JSONL and Parquet. */
  field: z.string().default('text'),
  /**
   * Encoding of files that are not UTF-8: a label of the WHATWG Encoding Standard, such as `latin1` or `shift_jis`.
   * Files that are valid UTF-8 are always read as UTF-8.
   */
  encoding: z
    .string()
    .default('utf-8')
    .refine((label) => encodingName(label) !== undefined, { error: ({ input }) => expectedEncodings(input) }),
  tokenizer: tokenizerSchema.prefault({}),
  /** Share of the documents held out for evaluation. */
  heldOut: z.number().gt(0).lt(1).default(0.05),
  /** Seed of the split and of the order of documents. */
  seed: z.int().nonnegative().default(0),
  /** Seed of the order in which training windows are read; default: `seed`. The split always follows `seed`. */
  order: z.int().nonnegative().optional(),
  /**
   * Whether a token attends to earlier documents of its window (windows are cut from the stream of all documents).
   * If false, attention restarts at every end-of-text token, in training and evaluation; every token stays a target.
   */
  crossDocuments: z.boolean().default(true),
  /**
   * Record of routes, a folder that `choir routing` wrote or a file of a server's answers, of the whole `source`: in
   * training its tokens go to the recorded experts, with the gates of the model. null = routers choose.
   */
  replay: path.min(1).nullable().default(null),
  /** Folder of the token cache; default: the user's cache folder. */
  cache: path.optional(),
})

export type DataConfig = z.output<typeof dataSchema>
