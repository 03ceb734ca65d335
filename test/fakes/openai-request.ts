/** The few request fields that the fakes answer to, read as loosely as engines read them. */

type Fields = Readonly<Record<string, unknown>>;

const fieldsOf = (value: unknown): Fields =>
  typeof value === 'object' && value !== null ? { ...value } : {};
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? (value as unknown[]) : []);

export interface AskedTool {
  readonly name: string;
  readonly argument: string;
}

export interface Asked {
  readonly model: string;
  readonly stream: boolean;
  readonly includesUsage: boolean;
  readonly continuousUsage: boolean;
  readonly choices: number;
  readonly logprobs: boolean;
  readonly topLogprobs: number;
  readonly tools: readonly AskedTool[];
  readonly jsonSchema: boolean;
  readonly images: readonly string[];
  readonly thinks: boolean;
  readonly maxTokens: number | undefined;
  readonly tellsProgress: boolean;
}

const readTools = (fields: Fields): readonly AskedTool[] => {
  if (fields.tool_choice === 'none') return [];
  const tools = listOf(fields.tools).map((tool) => {
    const definition = fieldsOf(fieldsOf(tool).function);
    const properties = Object.keys(fieldsOf(fieldsOf(definition.parameters).properties));
    return { name: String(definition.name), argument: properties[0] ?? 'value' };
  });
  return fields.parallel_tool_calls === false ? tools.slice(0, 1) : tools;
};

const readImages = (fields: Fields): readonly string[] =>
  listOf(fields.messages)
    .flatMap((message) => listOf(fieldsOf(message).content))
    .map((part) => fieldsOf(fieldsOf(part).image_url).url)
    .filter((url): url is string => typeof url === 'string');

export const readAsked = (fields: Fields): Asked => {
  const options = fieldsOf(fields.stream_options);
  return {
    model: String(fields.model),
    stream: fields.stream === true,
    includesUsage: options.include_usage === true,
    continuousUsage: options.include_usage === true && options.continuous_usage_stats === true,
    choices: typeof fields.n === 'number' ? fields.n : 1,
    logprobs: fields.logprobs === true || typeof fields.logprobs === 'number',
    topLogprobs: typeof fields.top_logprobs === 'number' ? fields.top_logprobs : 0,
    tools: readTools(fields),
    jsonSchema: fieldsOf(fields.response_format).type === 'json_schema',
    images: readImages(fields),
    thinks: fieldsOf(fields.chat_template_kwargs).enable_thinking === true,
    tellsProgress: fields.return_progress === true,
    maxTokens: typeof fields.max_tokens === 'number' ? fields.max_tokens : undefined,
  };
};
