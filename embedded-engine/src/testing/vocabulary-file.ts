/**
 * A model's tokenizer out of a GGUF file that holds no more than its vocabulary, as llama.cpp reads it. Only tests
 * import it.
 */
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';
import { createVocabulary } from '../generation/vocabulary.ts';

export interface TextTokens {
  readonly ids: readonly number[];
  /** What each token is spelled with. */
  readonly pieces: readonly Uint8Array[];
}

export const loadTokenizer = async (modelPath: string): Promise<(text: string) => TextTokens> => {
  const llama = await getLlama({
    ...{ gpu: false, build: 'never', skipDownload: true, progressLogs: false },
    // It looks for weights to guess how much memory they take, and says that there are none.
    logLevel: LlamaLogLevel.disabled,
  });
  const model = await llama.loadModel({ modelPath, vocabOnly: true });
  const { ggml } = model.fileInfo.metadata.tokenizer ?? {};
  const vocabulary = createVocabulary({
    kind: model.vocabularyType,
    tokens: ggml?.tokens ?? [],
    types: ggml?.token_type ?? [],
  });
  return (text) => {
    const ids: number[] = model.tokenize(text, true);
    return { ids, pieces: ids.map((id) => vocabulary.pieceBytes(id)) };
  };
};
