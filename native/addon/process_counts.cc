#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <unistd.h>

#include "work.h"

namespace podwright {
namespace {

// What runs in the cgroup decides how much there is to count: bounds per cgroup, beyond which nothing is
// looked at.
constexpr size_t MAX_CGROUPS = 256;
constexpr size_t MAX_PROCESSES = 4096;
constexpr size_t MAX_DESCRIPTORS = 32768;

struct Counts {
    bool found = false;
    size_t processes = 0;
    size_t descriptors = 0;
    size_t sockets = 0;
};

struct CloseDirectory {
    void operator()(DIR *directory) const {
        closedir(directory);
    }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

// A process may end at any moment: what cannot be read counts nothing.
void count_descriptors(const char *pid, Counts &counts) {
    const std::string path = std::string("/proc/") + pid + "/fd";
    Directory directory(opendir(path.c_str()));
    if (!directory)
        return;
    constexpr char SOCKET[] = "socket:";
    char target[sizeof SOCKET - 1];
    while (const dirent *entry = readdir(directory.get())) {
        if (entry->d_name[0] == '.')
            continue;
        if (counts.descriptors >= MAX_DESCRIPTORS)
            return;
        counts.descriptors++;
        const ssize_t length = readlinkat(dirfd(directory.get()), entry->d_name, target, sizeof target);
        if (length == sizeof target && memcmp(target, SOCKET, sizeof target) == 0)
            counts.sockets++;
    }
}

void count_processes(int cgroup, Counts &counts) {
    UniqueFd fd(openat(cgroup, "cgroup.procs", O_RDONLY | O_CLOEXEC));
    if (!fd)
        return;
    FILE *list = fdopen(fd.get(), "r");
    if (list == nullptr)
        return;
    fd.release();
    char line[32];
    while (counts.processes < MAX_PROCESSES && fgets(line, sizeof line, list) != nullptr) {
        line[strcspn(line, "\n")] = '\0';
        counts.processes++;
        // "0": of a pid namespace that we do not see into.
        if (strcmp(line, "0") != 0)
            count_descriptors(line, counts);
    }
    fclose(list);
}

// The cgroup and those below it: of execs, and of containers that make their own.
Counts count_tree(const std::string &top) {
    Counts counts;
    std::vector<std::string> pending{top};
    for (size_t index = 0; index < pending.size(); index++) {
        Directory directory(opendir(pending[index].c_str()));
        if (!directory)
            continue;
        counts.found = true;
        count_processes(dirfd(directory.get()), counts);
        while (const dirent *entry = readdir(directory.get()))
            if (entry->d_type == DT_DIR && entry->d_name[0] != '.' && pending.size() < MAX_CGROUPS)
                pending.push_back(pending[index] + "/" + entry->d_name);
    }
    return counts;
}

class ProcessCounts : public Work {
  public:
    ProcessCounts(Napi::Env env, std::vector<std::string> directories)
        : Work(env), directories_(std::move(directories)) {}

  private:
    std::optional<Failure> run() override {
        counts_.reserve(directories_.size());
        for (const std::string &directory : directories_)
            counts_.push_back(count_tree(directory));
        return std::nullopt;
    }
    Napi::Value result(Napi::Env env) override {
        Napi::Array result = Napi::Array::New(env, counts_.size());
        for (uint32_t i = 0; i < counts_.size(); i++) {
            const Counts &counts = counts_[i];
            if (!counts.found)
                continue;
            Napi::Array numbers = Napi::Array::New(env, 3);
            numbers.Set(0U, static_cast<double>(counts.processes));
            numbers.Set(1U, static_cast<double>(counts.descriptors));
            numbers.Set(2U, static_cast<double>(counts.sockets));
            result.Set(i, numbers);
        }
        return result;
    }

    std::vector<std::string> directories_;
    std::vector<Counts> counts_;
};

// processCounts(directories: string[])
Napi::Value process_counts(const Napi::CallbackInfo &info) {
    Args args(info);
    std::vector<std::string> directories = args.texts(0);
    if (!args.ok())
        return info.Env().Undefined();
    return Work::start(new ProcessCounts(info.Env(), std::move(directories)));
}

} // namespace

void define_process_counts(Napi::Object exports) {
    define<process_counts>(exports, "processCounts");
}

} // namespace podwright
