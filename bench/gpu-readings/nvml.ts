/** NVML itself, called through its C library: the second opinion on what the agent reads by `nvidia-smi`. */
import koffi from 'koffi';

export interface NvmlReading {
  readonly memoryUsedMiB: number;
  readonly watts: number;
  readonly celsius: number;
  readonly busyPercent: number;
}

/** `nvmlMemory_v2_t`, and the word that says so: its size, and the version in the highest byte. */
const memoryVersion = 40 | (2 << 24);
const gpuSensor = 0;

/** Throws where there is no driver, and what NVML answers when it refuses. */
export const openNvml = () => {
  const library = koffi.load('libnvidia-ml.so.1');
  const [long, word] = ['uint64_t', 'uint32_t'] as const;
  koffi.struct('NvmlMemory', { version: word, total: long, reserved: long, free: long, used: long });
  koffi.struct('NvmlUse', { gpu: word, memory: word });
  const call = (name: string, parameters: string): ((...words: unknown[]) => void) => {
    const its = library.func(`int ${name}(${parameters})`);
    return (...words) => {
      const status: unknown = its(...words);
      if (status !== 0) throw new Error(`${name} answered ${String(status)}`);
    };
  };
  const handleOf = call('nvmlDeviceGetHandleByIndex_v2', 'uint32_t index, _Out_ void **device');
  const memoryOf = call('nvmlDeviceGetMemoryInfo_v2', 'void *device, _Inout_ NvmlMemory *memory');
  const powerOf = call('nvmlDeviceGetPowerUsage', 'void *device, _Out_ uint32_t *milliwatts');
  const temperatureOf = call('nvmlDeviceGetTemperature', 'void *device, int sensor, _Out_ uint32_t *celsius');
  const useOf = call('nvmlDeviceGetUtilizationRates', 'void *device, _Out_ NvmlUse *use');
  call('nvmlInit_v2', '')();
  return (gpu: number): NvmlReading => {
    const handle: unknown[] = [null];
    handleOf(gpu, handle);
    const seen = { version: memoryVersion, total: 0, reserved: 0, free: 0, used: 0 };
    const milliwatts = [0];
    const celsius = [0];
    const used = { gpu: 0, memory: 0 };
    memoryOf(handle[0], seen);
    powerOf(handle[0], milliwatts);
    temperatureOf(handle[0], gpuSensor, celsius);
    useOf(handle[0], used);
    return {
      memoryUsedMiB: Number(seen.used) / 2 ** 20,
      watts: (milliwatts[0] ?? Number.NaN) / 1_000,
      celsius: celsius[0] ?? Number.NaN,
      busyPercent: used.gpu,
    };
  };
};
